//! No node takes a pod.

use crate::diagnose::{
    evidence::k8s,
    finding::{Finding, Rule},
    view::View,
};

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let mut evidence = Vec::new();
    for (at, pod) in view.pods() {
        for (c, condition) in pod.conditions.iter().enumerate() {
            let refused = condition.r#type == "PodScheduled" && condition.status == "False";
            if refused && condition.reason == "Unschedulable" {
                let pointer = format!("/kubernetes/pods/{at}/conditions/{c}");
                evidence.push(k8s(
                    "pods",
                    pointer,
                    &format!("{}: {}", pod.name, condition.message),
                ));
            }
        }
    }
    let pods = evidence.len();
    for (at, node) in view
        .snapshot()
        .kubernetes
        .iter()
        .flat_map(|k| k.nodes.iter().enumerate())
    {
        if pods > 0 && (!node.ready || node.unschedulable || !node.pressures.is_empty()) {
            let says = format!(
                "{}: ready {}, cordoned {}",
                node.name, node.ready, node.unschedulable
            );
            evidence.push(k8s("nodes", format!("/kubernetes/nodes/{at}"), &says));
        }
    }
    (pods > 0).then(|| Finding {
        rule: Rule::Unschedulable,
        title: format!("no node takes {pods} of the pods of {}", view.workload),
        confidence: 88,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}
