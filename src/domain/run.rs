//! The words in which engine, tool-router, warrant and evidence speak of a running plan.
//!
//! A write is named by an [`ActRef`], never described: the tool-router derives everything else from stored, approved bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExecutionId, TenantId};

/// Forward through the plan, or back through its inverses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The step itself.
    Forward,
    /// The step's inverse.
    Rollback,
}

impl Direction {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Rollback => "rollback",
        }
    }
}

/// Names one attempt of one step. This is all that crosses the wire for a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRef {
    /// A look-up key: rows of another tenant are not found.
    pub tenant_id: TenantId,
    /// Which execution.
    pub execution_id: ExecutionId,
    /// Ordinal of the step, from 0.
    pub step: u32,
    /// Which way.
    pub direction: Direction,
    /// From 1.
    pub attempt: u32,
    /// The engine's lease; an epoch below the highest seen is refused.
    pub epoch: i64,
}

/// Names one look at the assertions of a running plan; like an act, it is named and never described.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookRef {
    /// A look-up key: rows of another tenant are not found.
    pub tenant_id: TenantId,
    /// Which execution.
    pub execution_id: ExecutionId,
    /// The engine's lease.
    pub epoch: i64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// It took effect.
    Done,
    /// It had no effect that counts; the tool said no.
    Failed,
    /// Nobody knows whether it took effect.
    Unknown,
    /// A gate said no before anything was done.
    Refused,
}

impl AttemptStatus {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

/// The tool-router's answer to an [`ActRef`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActReport {
    /// How it ended.
    pub status: AttemptStatus,
    /// Short, stable reason (`drifted`, `digest_mismatch`, `exit_1`, …); none when done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One redacted line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Another attempt may help (the managed system was out of reach and nothing was done).
    #[serde(default)]
    pub retryable: bool,
}

/// What is known of an attempt whose report was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeReport {
    /// The attempt is still running, or may still be: look again later.
    Running,
    /// It was never claimed: nothing happened.
    NotStarted,
    /// It took effect.
    Done,
    /// It ended without effect; another attempt is safe.
    NotDone,
    /// It ended with a stored failure or refusal.
    Failed,
    /// Nobody can say.
    Unknown,
}

/// How well the world fits the assertions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Measured, and as it should be.
    Met,
    /// Measured, and not as it should be.
    NotMet,
    /// Not measured: absent, stale or failing evidence.
    Unknown,
}

impl Verdict {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "not_met",
            Self::Unknown => "unknown",
        }
    }
}

/// How a person settles a step that is `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It took effect.
    Done,
    /// It did not.
    NotDone,
    /// Stop here; leave the world as it is.
    Abandon,
}

/// One entry of an execution's journal, in the order in which the machine was given them. The journal is the only truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event", deny_unknown_fields)]
pub enum JournalEvent {
    /// The engine took it up, with all leases.
    Started,
    /// This attempt may act: the router refuses any attempt without such an entry.
    Intended {
        /// Ordinal of the step.
        step: u32,
        /// Which way.
        direction: Direction,
        /// From 1.
        attempt: u32,
    },
    /// The router reported.
    Ended {
        /// Ordinal of the step.
        step: u32,
        /// Which way.
        direction: Direction,
        /// From 1.
        attempt: u32,
        /// How it ended.
        status: AttemptStatus,
        /// Short, stable reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// Another attempt may help.
        #[serde(default)]
        retryable: bool,
    },
    /// A lost attempt was looked at.
    Probed {
        /// Ordinal of the step.
        step: u32,
        /// Which way.
        direction: Direction,
        /// From 1.
        attempt: u32,
        /// What was seen.
        report: ProbeReport,
    },
    /// Verification looked once.
    Looked {
        /// The weakest verdict of all assertions.
        verdict: Verdict,
        /// The window has passed.
        last: bool,
    },
    /// A person asked to stop.
    CancelRequested {
        /// Who.
        by: String,
    },
    /// A person asked to go back.
    RollbackRequested {
        /// Who.
        by: String,
        /// Asked of an execution that waits for a person, by one who may settle it. Without it, going back over what
        /// nobody knows is nobody's decision.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        settles: bool,
    },
    /// A person settled an unknown step.
    Resolved {
        /// Ordinal of the step.
        step: u32,
        /// How.
        resolution: Resolution,
        /// Who.
        by: String,
    },
    /// A person, a freeze or a revocation stops forward acts.
    Held {
        /// Short, stable reason.
        code: String,
    },
    /// The plan's `max_duration_secs` has passed.
    DeadlinePassed,
}

/// Values captured before an act or read from its answer: name → text.
pub type Captured = BTreeMap<String, String>;
