//! How dangerous an action is, and how it may be repeated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Danger of an action or a plan. Comes from typed steps only and can only be raised ([`Risk::raise`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Changes nothing.
    Read,
    /// A small change that its inverse undoes.
    Low,
    /// A change that people notice.
    Medium,
    /// A change that can lose data or access.
    High,
}

impl Risk {
    /// The higher of both. There is no way to lower a risk.
    #[must_use]
    pub fn raise(self, other: Self) -> Self {
        self.max(other)
    }

    /// The word used in JSON, in the database and in policy input.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Which approval a plan needs. Derived from risk, environment, irreversibility, effect kind and guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Only reads: no approval.
    Read,
    /// One approver other than the requester.
    Standard,
    /// One approver with the `admin` role other than the requester.
    Elevated,
}

impl Tier {
    /// The word used in JSON, in the database and in policy input.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Standard => "standard",
            Self::Elevated => "elevated",
        }
    }
}

/// What may be done after a crash in the middle of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// Reads; may always be repeated.
    None,
    /// Sets a state: doing it again is safe.
    Converge,
    /// The vendor keeps an idempotency key: doing it again with the same key is safe.
    Keyed,
    /// Leaves a mark that a probe can find (commit trailer, annotation, description).
    Marked,
    /// Neither: after a crash it is `unknown`, and never redone.
    Opaque,
}

/// What stops a write when the world is no longer as the approver saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The managed system compares in the act itself (resourceVersion, `--force-with-lease`).
    Native,
    /// We compare just before the act; there is a gap.
    Checked,
    /// Nothing does.
    None,
}
