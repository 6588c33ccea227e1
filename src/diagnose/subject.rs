//! Which workload an alert is about.
//!
//! Its words are look-up keys: they choose among the workloads that the snapshot knows, or choose nothing.

use std::collections::BTreeSet;

use super::view::Known;
use crate::{
    context::{WorkloadKind, WorkloadRef},
    intake::signal::SignalFacts,
};

/// The workload that `signal` names, or a sentence that says why there is none.
pub(super) fn resolve(signal: &SignalFacts, known: &Known<'_>) -> Result<WorkloadRef, String> {
    let namespace = &known.target.context.namespace;
    if let Some(other) = signal
        .labels
        .get("namespace")
        .filter(|n| !namespace.is_empty() && *n != namespace)
    {
        let other = shown(other);
        return Err(format!(
            "the alert is about namespace `{other}`, this target is `{namespace}`"
        ));
    }
    let mut named = BTreeSet::new();
    named.extend(signal.service.as_deref().and_then(|s| known.service(s)));
    for (key, kind) in [
        ("deployment", WorkloadKind::Deployment),
        ("statefulset", WorkloadKind::StatefulSet),
        ("daemonset", WorkloadKind::DaemonSet),
    ] {
        let name = signal.labels.get(key);
        named.extend(
            name.and_then(|n| WorkloadRef::new(kind, n))
                .filter(|w| known.has(w)),
        );
    }
    let pod = signal.labels.get("pod").and_then(|name| known.pod(name));
    named.extend(pod.and_then(|p| p.workload.clone()));
    let names: Vec<String> = named.iter().map(ToString::to_string).collect();
    match (named.pop_first(), named.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(format!(
            "the alert names several workloads at once: {}",
            names.join(", ")
        )),
        (None, _) => Err(match &signal.service {
            Some(service) => format!(
                "the alert names `{}`, which is no known service of this target",
                shown(service)
            ),
            None => "the alert names no service, workload or pod of this target".into(),
        }),
    }
}

fn shown(text: &str) -> String {
    crate::context::clean(text, 60)
}
