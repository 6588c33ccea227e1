//! A probe fails: the container runs, but is not ready or is killed for it.

use crate::{
    context::ContainerState,
    diagnose::{
        evidence::k8s,
        finding::{Finding, Rule},
        view::View,
    },
};

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let mut title = None;
    let mut evidence = Vec::new();
    for (pointer, pod, container) in view.containers() {
        let running = matches!(container.state, ContainerState::Running { .. });
        let killed = container.restarts > 0 && container.probes.iter().any(|p| p == "liveness");
        if container.init || container.probes.is_empty() || container.ready || !(running || killed) {
            continue;
        }
        // The kubelet's event is what tells a failing probe from one that has not run yet.
        let unhealthy = view
            .events(format!("pod/{}", pod.name))
            .find(|(_, e)| e.warning && e.reason == "Unhealthy");
        let Some((at, event)) = unhealthy else { continue };
        evidence.push(k8s(
            "pods",
            pointer,
            &format!("{} / {} is not ready", pod.name, container.name),
        ));
        let seen = format!("{} times: {}", event.count, event.message);
        evidence.push(k8s("events", format!("/kubernetes/events/{at}"), &seen));
        title.get_or_insert_with(|| {
            let which = ["Liveness", "Readiness", "Startup"]
                .into_iter()
                .find(|w| event.message.starts_with(w));
            format!(
                "{}: {} probe fails",
                view.workload,
                which.unwrap_or("a").to_lowercase()
            )
        });
    }
    Some(Finding {
        rule: Rule::FailingProbe,
        title: title?,
        confidence: 78,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}
