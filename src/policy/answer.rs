//! The words in which rules answer, read strictly: whatever is not a plain answer is a denial.

use serde::Deserialize;

use super::{Constraints, Decision, Outcome, Violation};
use crate::domain::{Digest, Tier};

/// The shape of `result`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    decision: Outcome,
    violations: Vec<Violation>,
    constraints: Constraints,
    ttl: u32,
    tier: Tier,
    tier_reasons: Vec<String>,
}

impl Decision {
    /// Reads `result` as an engine wrote it, as JSON; none when the rules left it undefined. One reading for every engine.
    #[must_use]
    pub fn from_answer(json: Option<&str>, bundle: Digest) -> Self {
        let Some(json) = json else {
            return Self::denied("policy_undefined", "the rules give no answer", bundle);
        };
        match serde_json::from_str::<Answer>(json) {
            Ok(answer) => answer.into_decision(bundle),
            Err(error) => Self::denied(
                "policy_error",
                format!("the answer is malformed: {error}"),
                bundle,
            ),
        }
    }
}

impl Answer {
    fn into_decision(self, bundle: Digest) -> Decision {
        let denied = self.decision == Outcome::Deny;
        if denied != self.violations.is_empty() {
            return Decision {
                decision: self.decision,
                violations: self.violations,
                constraints: self.constraints,
                ttl_secs: self.ttl,
                tier: self.tier,
                tier_reasons: self.tier_reasons,
                bundle,
            };
        }
        let message = if denied {
            "the rules deny and do not say why"
        } else {
            "the rules name violations and do not deny"
        };
        Decision::denied("policy_error", message, bundle)
    }
}
