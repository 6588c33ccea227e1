//! Which registered target an alert is about. Its labels are keys to look up, nothing more.

use crate::{domain::Target, intake::signal::SignalFacts};

/// Why no single target could be made out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTarget {
    /// The alert names no service.
    #[error("the alert names no service")]
    NoService,
    /// No target has it.
    #[error("no registered target has the service that the alert names")]
    NotRegistered,
    /// Several have it, and nothing in the alert tells them apart.
    #[error("several registered targets have this service: {0}")]
    Ambiguous(String),
}

/// The one target of `targets` that has the alert's service. A namespace, cluster or environment in the labels may choose
/// between several; it never names one.
pub(super) fn find_target<'a>(signal: &SignalFacts, targets: &'a [Target]) -> Result<&'a Target, NoTarget> {
    let service = signal.service.as_deref().ok_or(NoTarget::NoService)?;
    let mut found: Vec<&Target> = targets
        .iter()
        .filter(|t| t.services.contains_key(service))
        .collect();
    if found.is_empty() {
        return Err(NoTarget::NotRegistered);
    }
    for (label, field) in PLACES {
        if let Some(value) = signal.labels.get(*label).filter(|_| found.len() > 1) {
            found.retain(|target| field(target) == value);
        }
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(NoTarget::NotRegistered),
        several => {
            let names: Vec<&str> = several.iter().map(|t| t.name.as_str()).collect();
            Err(NoTarget::Ambiguous(names.join(", ")))
        }
    }
}

type Field = fn(&Target) -> &String;

const PLACES: &[(&str, Field)] = &[
    ("cluster", |target| &target.context.cluster_id),
    ("namespace", |target| &target.context.namespace),
    ("environment", |target| &target.context.environment),
    ("env", |target| &target.context.environment),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{ContextRef, TargetMode},
        intake::signal::SignalStatus,
    };

    fn target(name: &str, namespace: &str, services: &[&str]) -> Target {
        let context = ContextRef {
            namespace: namespace.into(),
            environment: "prod".into(),
            ..ContextRef::default()
        };
        Target {
            target_id: Uuid::nil().into(),
            name: name.into(),
            version: 1,
            context,
            mode: TargetMode::Act,
            protected: false,
            git: None,
            prometheus_url: None,
            kubernetes: None,
            services: services
                .iter()
                .map(|s| ((*s).to_owned(), format!("deployment/{s}")))
                .collect(),
        }
    }

    fn alert(service: Option<&str>, labels: &[(&str, &str)]) -> SignalFacts {
        SignalFacts {
            source: "alertmanager".into(),
            fingerprint: "f".into(),
            alertname: "A".into(),
            severity: String::new(),
            service: service.map(str::to_owned),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            starts_at: DateTime::UNIX_EPOCH,
            ends_at: None,
            status: SignalStatus::Firing,
        }
    }

    #[test]
    fn invariant_6_labels_choose_among_registered_targets_and_name_none() {
        let targets = [
            target("a", "shop", &["checkout", "cart"]),
            target("b", "test", &["checkout"]),
        ];
        let found = |signal: &SignalFacts| find_target(signal, &targets).map(|t| t.name.clone());
        assert_eq!(found(&alert(Some("cart"), &[])), Ok("a".into()));
        assert_eq!(
            found(&alert(Some("cart"), &[("namespace", "kube-system")])),
            Ok("a".into())
        );
        assert_eq!(
            found(&alert(Some("checkout"), &[("namespace", "test")])),
            Ok("b".into())
        );
        assert_eq!(
            found(&alert(Some("checkout"), &[])),
            Err(NoTarget::Ambiguous("a, b".into()))
        );
        assert_eq!(
            found(&alert(Some("checkout"), &[("namespace", "elsewhere")])),
            Err(NoTarget::NotRegistered)
        );
        assert_eq!(
            found(&alert(Some("payments"), &[("target", "a")])),
            Err(NoTarget::NotRegistered)
        );
        assert_eq!(found(&alert(None, &[])), Err(NoTarget::NoService));
    }
}
