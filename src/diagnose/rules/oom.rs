//! A container was killed for its memory.
//!
//! Read from how it ended the last time: by the time anybody looks, the present state says `CrashLoopBackOff`, or that
//! it runs.

use crate::{
    context::ContainerState,
    diagnose::{
        evidence::k8s,
        finding::{Finding, Rule},
        view::View,
    },
};

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let mut limit = None;
    let mut evidence = Vec::new();
    for (pointer, pod, container) in view.containers() {
        let now = match &container.state {
            ContainerState::Terminated(ended) => Some(("state", ended)),
            _ => None,
        };
        let last = container.last_terminated.as_ref().map(|l| ("last_terminated", l));
        let killed = now
            .into_iter()
            .chain(last)
            .find(|(_, e)| e.reason == "OOMKilled" && view.is_recent(e.finished_at));
        let Some((field, ended)) = killed else { continue };
        let memory = container.memory_limit.as_deref().unwrap_or("none");
        let excerpt = format!(
            "{} / {}: {} (exit code {}), {} restarts, memory limit {memory}",
            pod.name, container.name, ended.reason, ended.exit_code, container.restarts
        );
        evidence.push(k8s("pods", format!("{pointer}/{field}"), &excerpt));
        limit.get_or_insert(memory);
    }
    Some(Finding {
        rule: Rule::Oom,
        title: format!("{} was killed for its memory (limit {})", view.workload, limit?),
        confidence: 90,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}
