//! Names of workloads.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What runs pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
}

impl WorkloadKind {
    /// The word used in JSON, in node ids and by kubectl.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    /// Reads a kind in any letter case (`Deployment`, `deployment`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

/// A workload of the target's namespace, shown as `deployment/checkout`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadRef {
    /// What it is.
    pub kind: WorkloadKind,
    /// A DNS label or subdomain.
    pub name: String,
}

impl WorkloadRef {
    /// A workload of `kind`, when `name` is a name that Kubernetes would accept.
    #[must_use]
    pub fn new(kind: WorkloadKind, name: &str) -> Option<Self> {
        is_object_name(name).then(|| Self {
            kind,
            name: name.to_owned(),
        })
    }

    /// A deployment.
    #[must_use]
    pub fn deployment(name: &str) -> Option<Self> {
        Self::new(WorkloadKind::Deployment, name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for WorkloadRef {
    type Err = ();

    /// Reads `kind/name`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once('/').ok_or(())?;
        Self::new(WorkloadKind::parse(kind).ok_or(())?, name).ok_or(())
    }
}

/// Whether Kubernetes accepts `name` as the name of an object: a DNS subdomain.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| inner(b) || b == b'-' || b == b'.')
        && name.bytes().next().is_some_and(inner)
        && name.bytes().last().is_some_and(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_reads_back_and_odd_names_are_refused() {
        let workload: WorkloadRef = "deployment/checkout".parse().expect("workload");
        assert_eq!(workload.to_string(), "deployment/checkout");
        for bad in [
            "checkout",
            "pod/checkout",
            "deployment/",
            "deployment/--all",
            "deployment/a b",
            "deployment/A",
            "deployment/a/b",
        ] {
            assert!(bad.parse::<WorkloadRef>().is_err(), "{bad}");
        }
    }
}
