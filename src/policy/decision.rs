//! What policy answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Tier};

/// An answer of policy. What counts is made by [`super::Engine::decide`]; [`Decision::from_answer`] reads other engines'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Yes, no, or only with an approval.
    pub decision: Outcome,
    /// Why not; empty unless denied.
    pub violations: Vec<Violation>,
    /// Limits that hold if it is done.
    pub constraints: Constraints,
    /// How long the answer may be relied on; 0 = only now.
    pub ttl_secs: u32,
    /// Which approval is needed.
    pub tier: Tier,
    /// Why the tier is elevated (`irreversible`, `protected_target`, …).
    pub tier_reasons: Vec<String>,
    /// The bundle that answered.
    pub bundle: Digest,
}

/// Yes, no, or only with an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may be done.
    Allow,
    /// It may be done once somebody else approved exactly this.
    RequireApproval,
    /// It may not be done.
    Deny,
}

impl Outcome {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::RequireApproval => "require_approval",
            Self::Deny => "deny",
        }
    }
}

/// One reason against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// Short and stable (`role_not_allowed`).
    pub code: String,
    /// One line for people.
    pub message: String,
}

/// Limits that a decision sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// Most objects that may be touched.
    pub max_targets: u32,
    /// How long an approval is good for.
    pub approval_ttl_secs: u32,
    /// From the start to the last forward act.
    pub max_duration_secs: u32,
    /// The glass was broken for this.
    pub break_glass: bool,
}

impl Constraints {
    /// What is used when policy gave no answer: as little as possible.
    pub const NARROWEST: Self = Self {
        max_targets: 1,
        approval_ttl_secs: 3600,
        max_duration_secs: 900,
        break_glass: false,
    };

    /// The stricter of each limit: what a request asks for can only narrow what policy allows.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            max_targets: self.max_targets.min(other.max_targets),
            approval_ttl_secs: self.approval_ttl_secs.min(other.approval_ttl_secs),
            max_duration_secs: self.max_duration_secs.min(other.max_duration_secs),
            break_glass: self.break_glass || other.break_glass,
        }
    }
}

impl Decision {
    /// A denial for one reason.
    #[must_use]
    pub fn denied(code: &str, message: impl Into<String>, bundle: Digest) -> Self {
        Self {
            decision: Outcome::Deny,
            violations: vec![Violation {
                code: code.to_owned(),
                message: message.into(),
            }],
            constraints: Constraints::NARROWEST,
            ttl_secs: 0,
            tier: Tier::Elevated,
            tier_reasons: Vec::new(),
            bundle,
        }
    }

    /// The live gate before an act: not denied, and no higher tier wanted than the one that was approved.
    #[must_use]
    pub fn permits_under(&self, approved: Tier) -> bool {
        self.decision != Outcome::Deny && self.tier <= approved
    }

    /// The violations' codes, for audit events and refusals.
    #[must_use]
    pub fn codes(&self) -> Vec<&str> {
        self.violations.iter().map(|v| v.code.as_str()).collect()
    }
}
