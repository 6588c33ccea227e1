//! A container ends, or cannot start, again and again. One that was killed for its memory is not ours.

use crate::{
    context::{ContainerFact, ContainerState},
    diagnose::{
        evidence::k8s,
        finding::{Finding, Rule},
        view::View,
    },
};

const CANNOT_START: [&str; 4] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
];
/// Ends within the last hour that make a loop even while the container happens to run.
const MANY_RESTARTS: i64 = 3;

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let mut how = None;
    let mut evidence = Vec::new();
    for (pointer, pod, container) in view.containers() {
        let Some(what) = looping(view, container) else {
            continue;
        };
        let excerpt = format!("{} / {}: {what}", pod.name, container.name);
        evidence.push(k8s("pods", pointer, &excerpt));
        how.get_or_insert(what);
    }
    Some(Finding {
        rule: Rule::CrashLoop,
        title: format!("{} does not stay up: {}", view.workload, how?),
        confidence: 85,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}

fn looping(view: &View<'_>, container: &ContainerFact) -> Option<String> {
    let last = container.last_terminated.as_ref();
    if last.is_some_and(|l| l.reason == "OOMKilled") {
        return None;
    }
    let ended = last.map_or_else(String::new, |l| {
        format!(", last exit code {} ({}) {}", l.exit_code, l.reason, l.message)
    });
    match &container.state {
        ContainerState::Waiting { reason, message } if CANNOT_START.contains(&reason.as_str()) => {
            Some(format!("{reason}: {message}"))
        }
        ContainerState::Waiting { reason, .. } if reason == "CrashLoopBackOff" => {
            Some(format!("{reason} after {} restarts{ended}", container.restarts))
        }
        _ => {
            let failed = last.is_some_and(|l| l.exit_code != 0 && view.is_recent(l.finished_at));
            (failed && container.restarts >= MANY_RESTARTS && !container.ready)
                .then(|| format!("{} restarts{ended}", container.restarts))
        }
    }
}
