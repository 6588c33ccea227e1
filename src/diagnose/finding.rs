//! The words of a diagnosis.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    context::{WorkloadRef, manifest::FieldChange},
    domain::{CanonicalError, canonical},
};

/// What the rules found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// Whether it is known what is wrong.
    pub verdict: Verdict,
    /// The workload that the alert is about, when one could be made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<WorkloadRef>,
    /// Most likely cause first.
    pub findings: Vec<Finding>,
    /// The change most likely behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect_change: Option<SuspectChange>,
    /// What would undo it; `None` when a person has to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// Why there is no remedy although the cause is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_remedy_because: Option<String>,
    /// What was looked at.
    pub looked_at: Vec<String>,
    /// What could not be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Diagnosis {
    /// The canonical bytes to store.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_bytes(self)
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::from_bytes(bytes)
    }
}

/// Whether it is known what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", deny_unknown_fields)]
pub enum Verdict {
    /// The first finding is the cause.
    Known,
    /// Everything that matters was looked at, and nothing is wrong. A firing alert is still a matter for a person.
    Healthy,
    /// An answer, not a guess: ends in an escalation.
    Unknown {
        /// One sentence.
        why: String,
    },
}

impl Verdict {
    /// The word used in the database.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Healthy => "healthy",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// A family of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An image cannot be pulled.
    ImagePull,
    /// A container ends, or cannot start, again and again.
    CrashLoop,
    /// A container was killed for its memory.
    Oom,
    /// A probe fails.
    FailingProbe,
    /// No node takes a pod.
    Unschedulable,
    /// A quota forbids pods.
    Quota,
    /// Fewer replicas than asked for.
    MissingReplicas,
    /// A commit broke it.
    BadCommit,
    /// CPU or memory is used up.
    Saturation,
    /// Something that it depends on is broken.
    FailingDependency,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Which family found it.
    pub rule: Rule,
    /// One sentence for people.
    pub title: String,
    /// 0 to 100: how sure it is that this is so and that it explains the alert.
    pub confidence: u8,
    /// The workload that it is about.
    pub subject: WorkloadRef,
    /// What shows it; never empty.
    pub evidence: Vec<EvidenceRef>,
    /// The change behind it, when one was made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<SuspectChange>,
}

/// What kind of evidence, in the words of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// Read from a Kubernetes API.
    K8s,
    /// Read from a repository.
    Git,
    /// Read from Prometheus.
    Promql,
}

/// A place in the snapshot that shows something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRef {
    /// What kind.
    pub kind: EvidenceKind,
    /// Name of the source in the snapshot.
    pub source: String,
    /// JSON pointer into the snapshot.
    pub pointer: String,
    /// What stands there, shortened.
    pub excerpt: String,
}

/// A change that may be behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum SuspectChange {
    /// A commit of the target's repository.
    Commit {
        /// Object id.
        commit: String,
        /// First line of its message, to be shown.
        subject: String,
        /// Its author, to be shown.
        author: String,
        /// When it was committed.
        committed_at: DateTime<Utc>,
        /// What it changed about the failing thing.
        changes: Vec<FieldChange>,
        /// 0 to 100.
        confidence: u8,
    },
    /// A roll-out that no commit is known for.
    RollOut {
        /// What was rolled out.
        workload: WorkloadRef,
        /// The revision that came.
        revision: i64,
        /// The revision before it.
        previous_revision: i64,
        /// When it came.
        at: DateTime<Utc>,
        /// 0 to 100.
        confidence: u8,
    },
}

/// What would put it right, in words of the domain: every argument is a node of the snapshot or a field of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Remedy {
    /// Revert one commit of the target's repository.
    RevertCommit {
        /// The target's repository.
        repo: String,
        /// The target's branch.
        branch: String,
        /// A commit of the snapshot's log, with exactly one parent.
        commit: String,
        /// The manifest, from the repository's root, in which the commit changed the failing thing.
        path: String,
    },
    /// Go back to an earlier revision.
    RollOutUndo {
        /// A deployment of the snapshot.
        workload: WorkloadRef,
        /// Revision of one of its replica sets.
        to_revision: i64,
    },
    /// Replace all pods, one after the other.
    Restart {
        /// A workload of the snapshot.
        workload: WorkloadRef,
    },
    /// Change the number of replicas.
    Scale {
        /// A workload of the snapshot.
        workload: WorkloadRef,
        /// What its spec asks for now.
        from: i64,
        /// What it should ask for.
        to: i64,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RevertCommit { commit, branch, .. } => {
                write!(f, "revert {} on {branch}", commit.get(..12).unwrap_or(commit))
            }
            Self::RollOutUndo {
                workload,
                to_revision,
            } => write!(f, "roll {workload} back to revision {to_revision}"),
            Self::Restart { workload } => write!(f, "restart {workload}"),
            Self::Scale { workload, from, to } => write!(f, "scale {workload} from {from} to {to}"),
        }
    }
}
