//! A quota forbids pods.

use crate::diagnose::{
    evidence::k8s,
    finding::{EvidenceRef, Finding, Rule},
    view::View,
};

const SAYS: &str = "exceeded quota: ";

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let (message, shown) = refusal(view)?;
    let mut evidence = vec![shown];
    // The message only chooses among the quotas that are there.
    let named = message
        .split_once(SAYS)
        .and_then(|(_, rest)| rest.split(',').next());
    let quotas = view
        .snapshot()
        .kubernetes
        .iter()
        .flat_map(|k| k.quotas.iter().enumerate());
    for (at, quota) in quotas.filter(|(_, q)| Some(q.name.as_str()) == named) {
        for (resource, line) in &quota.resources {
            let says = format!("{}: {resource} {} of {}", quota.name, line.used, line.hard);
            let pointer = format!(
                "/kubernetes/quotas/{at}/resources/{}",
                resource.replace('~', "~0").replace('/', "~1")
            );
            evidence.push(k8s("resource_quotas", pointer, &says));
        }
    }
    Some(Finding {
        rule: Rule::Quota,
        title: format!("a quota of the namespace forbids more pods of {}", view.workload),
        confidence: 90,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}

fn refusal<'a>(view: &View<'a>) -> Option<(&'a str, EvidenceRef)> {
    if let Some((at, deployment)) = view.deployment() {
        let failure =
            deployment.conditions.iter().enumerate().find(|(_, c)| {
                c.r#type == "ReplicaFailure" && c.status == "True" && c.message.contains(SAYS)
            });
        if let Some((c, condition)) = failure {
            let pointer = format!("/kubernetes/deployments/{at}/conditions/{c}");
            return Some((
                &condition.message,
                k8s("deployments", pointer, &condition.message),
            ));
        }
    }
    // Events linger: they count only while pods are missing.
    let short = view.deployment().is_some_and(|(_, d)| d.ready < d.replicas);
    let sets = view
        .replica_sets()
        .filter(|(_, set)| short && set.replicas > set.ready);
    let mut events = sets.flat_map(|(_, set)| view.events(format!("replicaset/{}", set.name)));
    let (at, event) = events.find(|(_, e)| e.reason == "FailedCreate" && e.message.contains(SAYS))?;
    let pointer = format!("/kubernetes/events/{at}");
    Some((&event.message, k8s("events", pointer, &event.message)))
}
