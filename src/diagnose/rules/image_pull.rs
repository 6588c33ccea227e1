//! An image cannot be pulled.

use crate::{
    context::ContainerState,
    diagnose::{
        evidence::k8s,
        finding::{Finding, Rule},
        view::View,
    },
};

const REASONS: [&str; 5] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
];

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let mut image = None;
    let mut evidence = Vec::new();
    for (pointer, pod, container) in view.containers() {
        if let ContainerState::Waiting { reason, message } = &container.state
            && REASONS.contains(&reason.as_str())
        {
            image.get_or_insert(&container.image);
            let excerpt = format!("{} / {}: {reason}: {message}", pod.name, container.name);
            evidence.push(k8s("pods", format!("{pointer}/state"), &excerpt));
        }
    }
    Some(Finding {
        rule: Rule::ImagePull,
        title: format!("{} cannot pull its image `{}`", view.workload, image?),
        confidence: 90,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}
