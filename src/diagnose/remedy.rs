//! What would put it right, when rules may say so. Everything else is for a person.

use super::{
    finding::{EvidenceKind, Finding, Remedy, Rule, SuspectChange},
    view::View,
};
use crate::context::{ContainerState, SourceState, manifest::is_manifest_path, workload_id};

/// Most replicas that a rule asks for.
const MAX_REPLICAS: i64 = 50;

/// The remedy for `cause`, or a sentence that says why a person has to decide. `view` is that of the cause's subject.
pub(super) fn of(view: &View<'_>, cause: &Finding, change: Option<&SuspectChange>) -> Result<Remedy, String> {
    match change {
        Some(SuspectChange::Commit { commit, .. }) => revert(view, commit),
        Some(SuspectChange::RollOut {
            previous_revision, ..
        }) => undo(view, *previous_revision),
        None => match cause.rule {
            Rule::MissingReplicas => scale_back(view),
            Rule::Saturation => scale_out(view, cause),
            Rule::FailingProbe => restart(view, cause),
            _ => Err("no change is known that could be taken back".into()),
        },
    }
}

fn revert(view: &View<'_>, id: &str) -> Result<Remedy, String> {
    let facts = view.snapshot().git.as_ref();
    let place = view
        .known
        .target
        .git
        .as_ref()
        .ok_or("the target has no repository")?;
    let commit = facts
        .and_then(|g| g.commits.iter().find(|c| c.id == id))
        .ok_or("the commit is not in the log")?;
    if commit.parents.len() != 1 {
        return Err("the commit is a merge or the first one, which cannot simply be reverted".into());
    }
    let graph = &view.snapshot().graph;
    let me = workload_id(view.known.target, &view.workload);
    let node = format!("git/commit/{id}");
    let touches_another = graph.out(&node, "changed").any(|to| {
        let used_by_me = graph.out(&me, "uses").any(|used| used == to);
        to != me && !used_by_me
    });
    if touches_another {
        return Err("the commit also changes other workloads, which a revert would change back".into());
    }
    let folder = place.path.trim_matches('/');
    let foreign = commit.paths.iter().any(|path| {
        let inside = folder.is_empty() || path.strip_prefix(folder).is_some_and(|r| r.starts_with('/'));
        !(inside && is_manifest_path(path) || path.ends_with(".md"))
    });
    if foreign {
        return Err("the commit also changes files that are no manifests of this target".into());
    }
    let own = view.workload.to_string();
    let change = commit
        .changes
        .iter()
        .find(|c| c.object == own)
        .or_else(|| commit.changes.first());
    let change = change.ok_or("the commit changed nothing here")?;
    if commit
        .changes
        .iter()
        .any(|c| c.field.is_empty() && c.before.is_none())
    {
        return Err("the commit added an object, which a revert would remove".into());
    }
    Ok(Remedy::RevertCommit {
        repo: place.url.clone(),
        branch: place.branch.clone(),
        commit: commit.id.clone(),
        path: change.path.clone(),
    })
}

fn undo(view: &View<'_>, to_revision: i64) -> Result<Remedy, String> {
    unowned(view)?;
    if view.manifest().is_some() {
        return Err(
            "the repository owns this workload, and none of its commits explains the roll-out".into(),
        );
    }
    Ok(Remedy::RollOutUndo {
        workload: view.workload.clone(),
        to_revision,
    })
}

fn scale_back(view: &View<'_>) -> Result<Remedy, String> {
    let asked = view
        .manifest()
        .and_then(|(_, m)| m.replicas)
        .filter(|n| (1..=MAX_REPLICAS).contains(n));
    let to = asked.ok_or("nothing says how many replicas there should be")?;
    let (_, deployment) = view.deployment().ok_or("the deployment is not there")?;
    unowned(view)?;
    Ok(Remedy::Scale {
        workload: view.workload.clone(),
        from: deployment.replicas,
        to,
    })
}

fn scale_out(view: &View<'_>, cause: &Finding) -> Result<Remedy, String> {
    let (_, deployment) = view.deployment().ok_or("the deployment is not there")?;
    if !cause.title.ends_with("CPU") {
        return Err("more replicas do not help a process that fills its memory".into());
    }
    if view.manifest().is_some_and(|(_, m)| m.replicas.is_some()) {
        return Err("the repository owns the number of replicas: change it there".into());
    }
    unowned(view)?;
    let from = deployment.replicas;
    let to = from + (from / 2).max(1);
    if from < 1 || to > MAX_REPLICAS || deployment.ready < from {
        return Err("its replicas are not all there, or are many: capacity is a person's matter".into());
    }
    Ok(Remedy::Scale {
        workload: view.workload.clone(),
        from,
        to,
    })
}

/// A restart is proposed only where a twin of the stuck pod is well: then the template is good and the instance is not.
fn restart(view: &View<'_>, cause: &Finding) -> Result<Remedy, String> {
    let failing: Vec<&str> = cause
        .evidence
        .iter()
        .filter(|e| e.kind == EvidenceKind::K8s)
        .map(|e| e.pointer.as_str())
        .collect();
    let stuck = |at: usize| {
        failing
            .iter()
            .any(|p| p.starts_with(&format!("/kubernetes/pods/{at}/")))
    };
    let sets: Vec<_> = view
        .pods()
        .filter(|(at, _)| stuck(*at))
        .map(|(_, p)| p.replica_set.as_ref())
        .collect();
    let well = view.pods().any(|(at, pod)| {
        let ready = pod
            .containers
            .iter()
            .filter(|c| !c.init)
            .all(|c| c.ready && matches!(c.state, ContainerState::Running { .. }));
        !stuck(at)
            && ready
            && !pod.containers.is_empty()
            && pod.replica_set.is_some()
            && sets.contains(&pod.replica_set.as_ref())
    });
    if !well {
        return Err("no pod of the same revision is well: a restart would change nothing".into());
    }
    Ok(Remedy::Restart {
        workload: view.workload.clone(),
    })
}

/// Whoever owns the fields must be known, and must be nobody else.
fn unowned(view: &View<'_>) -> Result<(), String> {
    let asked = view.snapshot().source("kubernetes.autoscalers");
    if asked.is_none_or(|s| s.state != SourceState::Available || s.truncated) {
        return Err("it is not known whether an autoscaler owns the replicas".into());
    }
    if let Some(scaler) = view.autoscaler() {
        return Err(format!(
            "target_is_managed: autoscaler `{}` owns the replicas",
            scaler.name
        ));
    }
    let managers = view.deployment().map_or(&[][..], |(_, d)| &d.managers);
    match managers.first() {
        Some(manager) => Err(format!("target_is_managed: {manager} owns this workload")),
        None => Ok(()),
    }
}
