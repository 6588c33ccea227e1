//! Questions with known answers that every bundle must answer before it is taken.

use serde_json::{Value, json};

use super::{BundleError, Decision, Outcome};
use crate::domain::Tier;

/// A question, and the least that its answer must say.
pub(super) struct Canary {
    pub(super) name: &'static str,
    pub(super) input: Value,
    expected: Expected,
}

enum Expected {
    /// The rules must deny, in their own words: a failure to answer is no pass.
    Denied,
    /// Some of our own bundles' customers may be stricter, but nobody may let a write through unapproved.
    NotAllowed,
    /// A bundle that denies this is useless, or broken.
    Is(Outcome, Tier),
}

impl Canary {
    pub(super) fn check(&self, decided: &Decision) -> Result<(), BundleError> {
        let failed = decided
            .violations
            .iter()
            .any(|v| v.code == "policy_error" || v.code == "policy_undefined");
        let right = !failed
            && match &self.expected {
                Expected::Denied => decided.decision == Outcome::Deny,
                Expected::NotAllowed => decided.decision != Outcome::Allow,
                Expected::Is(outcome, tier) => decided.decision == *outcome && decided.tier >= *tier,
            };
        if right {
            return Ok(());
        }
        Err(BundleError::SelfTest {
            canary: self.name,
            why: format!("the answer is {:?}: {:?}", decided.decision, decided.violations),
        })
    }
}

/// All canaries.
pub(super) fn all() -> Vec<Canary> {
    let canary = |name, input, expected| Canary {
        name,
        input,
        expected,
    };
    let changed = |pointer: &str, value: Value| {
        let mut input = write();
        *input.pointer_mut(pointer).expect("the pointer is in the sample") = value;
        input
    };
    vec![
        canary("empty_input", json!({}), Expected::Denied),
        canary("null_input", Value::Null, Expected::Denied),
        canary("read", read(), Expected::Is(Outcome::Allow, Tier::Read)),
        canary(
            "write",
            write(),
            Expected::Is(Outcome::RequireApproval, Tier::Standard),
        ),
        canary(
            "low_write",
            changed("/steps/0/risk", json!("low")),
            Expected::NotAllowed,
        ),
        canary(
            "viewer_writes",
            changed("/actor/role", json!("viewer")),
            Expected::Denied,
        ),
        canary(
            "nobody_writes",
            changed("/actor/name", json!("")),
            Expected::Denied,
        ),
        canary(
            "other_tenant",
            changed("/target/tenant", json!("other")),
            Expected::Denied,
        ),
        canary(
            "unknown_environment",
            changed("/target/environment", json!("moon")),
            Expected::Denied,
        ),
        canary(
            "unknown_risk",
            changed("/risk/level", json!("none")),
            Expected::Denied,
        ),
        canary(
            "observed_target",
            changed("/target/mode", json!("observe")),
            Expected::Denied,
        ),
        canary(
            "protected_target",
            changed("/target/protected", json!(true)),
            Expected::Is(Outcome::RequireApproval, Tier::Elevated),
        ),
    ]
}

fn write() -> Value {
    json!({
        "action": {"name": "plan.check", "kind": "write", "phase": "plan"},
        "actor": {"kind": "service", "name": "canary", "role": "operator", "tenant": "canary"},
        "tenant": "canary",
        "target": {"name": "shop", "tenant": "canary", "environment": "staging", "mode": "act", "protected": false},
        "steps": [{"ordinal": 0, "stage": "act", "tool": "kubectl", "action": "scale", "risk": "medium",
            "effect": "converge", "guard": "native", "irreversible": false}],
        "risk": {"level": "medium", "tier": "standard", "targets": 1, "blast_radius": "namespace"},
        "flags": {"frozen": false, "in_window": true, "break_glass": false}
    })
}

fn read() -> Value {
    let mut input = write();
    input["action"]["kind"] = json!("read");
    input["risk"]["level"] = json!("read");
    input["risk"]["tier"] = json!("read");
    let step = &mut input["steps"][0];
    step["risk"] = json!("read");
    step["effect"] = json!("none");
    step["guard"] = json!("none");
    step["stage"] = json!("diagnose");
    input
}
