//! Fewer replicas than asked for.
//!
//! A mere shortage is a symptom and stays below what counts as known; a deployment that somebody scaled away from what
//! the repository asks for, or removed, is a cause.

use crate::{
    context::{SourceState, WorkloadKind},
    diagnose::{
        evidence::{k8s, manifest},
        finding::{Finding, Rule},
        view::View,
    },
};

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let finding = |title: String, confidence: u8, evidence| {
        Some(Finding {
            rule: Rule::MissingReplicas,
            title,
            confidence,
            subject: view.workload.clone(),
            evidence,
            change: None,
        })
    };
    let asked = view.manifest().and_then(|(at, m)| Some((at, m.replicas?)));
    let repository = |at: usize, n: i64| {
        manifest(
            format!("/git/manifests/{at}/replicas"),
            &format!("the repository asks for {n} replicas"),
        )
    };
    let workload = &view.workload;
    let Some((at, deployment)) = view.deployment() else {
        let (manifest_at, _) = view.manifest()?;
        let gone = removed(view) && workload.kind == WorkloadKind::Deployment;
        let shown = manifest(
            format!("/git/manifests/{manifest_at}"),
            &format!("{workload} is defined here, and the API lists no such deployment"),
        );
        return gone.then(|| {
            finding(
                format!("{workload} is in the repository, but not in the cluster"),
                75,
                vec![shown],
            )
        })?;
    };
    let says = format!(
        "{} replicas asked for, {} ready",
        deployment.replicas, deployment.ready
    );
    let cluster = k8s("deployments", format!("/kubernetes/deployments/{at}"), &says);
    match asked {
        Some((manifest_at, n)) if deployment.replicas < n && view.autoscaler().is_none() => {
            let confidence = if deployment.replicas == 0 { 88 } else { 62 };
            let title = format!(
                "{workload} was scaled to {}, the repository asks for {n}",
                deployment.replicas
            );
            finding(title, confidence, vec![cluster, repository(manifest_at, n)])
        }
        _ if deployment.ready < deployment.replicas => {
            let title = format!(
                "{workload} has {} of {} replicas ready",
                deployment.ready, deployment.replicas
            );
            finding(title, 50, vec![cluster])
        }
        _ => None,
    }
}

/// Whether the API listed all deployments, so that one which is not there is not there.
fn removed(view: &View<'_>) -> bool {
    let status = view.snapshot().source("kubernetes.deployments");
    status.is_some_and(|s| s.state == SourceState::Available && !s.truncated)
}
