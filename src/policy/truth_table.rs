//! The contract's truth table, with its faults repaired: every write needs an approval, unknown words are denied.

use serde_json::{Value, json};

use super::{Bundle, Engine, Outcome};
use crate::domain::Tier;

/// A question with everything in place, for one step.
pub(super) fn question(environment: &str, risk: &str, role: &str, kind: &str) -> Value {
    let reads = kind == "read";
    json!({
        "action": {"name": "plan.check", "kind": kind, "phase": "plan"},
        "actor": {"kind": "person", "name": "ada", "role": role, "tenant": "default",
            "person_id": "person_01980000000070008000000000000001"},
        "tenant": "default",
        "target": {"name": "shop", "tenant": "default", "environment": environment, "mode": "act", "protected": false},
        "steps": [{"ordinal": 0, "stage": if reads { "diagnose" } else { "act" }, "tool": "kubectl",
            "action": if reads { "get" } else { "scale" }, "risk": risk, "effect": if reads { "none" } else { "converge" },
            "guard": if reads { "none" } else { "native" }, "irreversible": false}],
        "risk": {"level": risk, "tier": "standard", "targets": 1, "blast_radius": "namespace"},
        "flags": {"frozen": false, "in_window": true, "break_glass": false}
    })
}

/// The question about the same step, at another moment.
fn at(phase: &str, mut input: Value) -> Value {
    input["action"]["phase"] = json!(phase);
    input["step"] = json!(0);
    input
}

fn with(mut input: Value, pointer: &str, value: Value) -> Value {
    *input.pointer_mut(pointer).expect("the pointer is in the sample") = value;
    input
}

fn engine() -> Engine {
    Engine::from_bundle(&Bundle::builtin()).expect("the builtin bundle is good")
}

#[test]
fn environment_risk_and_role() {
    let engine = engine();
    let known = ["local", "dev", "staging", "prod", "PROD", "stage", "production"];
    let unknown = ["", "test", "moon", " prod"];
    for environment in known.into_iter().chain(unknown) {
        for risk in ["read", "low", "medium", "high", "critical", ""] {
            for role in [
                "viewer", "operator", "approver", "admin", "source", "service", "none", "",
            ] {
                for kind in ["read", "write"] {
                    let decided = engine.decide_value(&question(environment, risk, role, kind));
                    let expected = expected(known.contains(&environment), risk, role, kind);
                    let row = format!(
                        "{environment:?} {risk:?} {role:?} {kind:?}: {:?}",
                        decided.violations
                    );
                    assert_eq!(decided.decision, expected, "{row}");
                    let tier = match (kind, risk) {
                        ("read", _) => Tier::Read,
                        (_, "high") => Tier::Elevated,
                        _ => Tier::Standard,
                    };
                    if decided.decision != Outcome::Deny {
                        assert_eq!(decided.tier, tier, "{row}");
                        assert_eq!(decided.ttl_secs, if kind == "read" { 300 } else { 0 }, "{row}");
                    }
                }
            }
        }
    }
}

fn expected(environment_known: bool, risk: &str, role: &str, kind: &str) -> Outcome {
    let may_read = ["viewer", "operator", "approver", "admin"].contains(&role);
    let may_write = may_read && role != "viewer";
    match (kind, risk) {
        _ if !environment_known => Outcome::Deny,
        ("read", "read") if may_read => Outcome::Allow,
        ("write", "low" | "medium" | "high") if may_write => Outcome::RequireApproval,
        _ => Outcome::Deny,
    }
}

#[expect(clippy::too_many_lines, reason = "a table is read whole")]
#[test]
fn one_changed_fact_at_a_time() {
    let engine = engine();
    let write = || question("staging", "medium", "operator", "write");
    let prod = || question("prod", "medium", "operator", "write");
    let read = || question("dev", "read", "viewer", "read");
    let deny = |code| (Outcome::Deny, code);
    let ask = |reason| (Outcome::RequireApproval, reason);
    let table = [
        // P5: everybody is named.
        (with(read(), "/actor/name", json!("")), deny("actor_unknown")),
        (with(write(), "/actor/name", json!("  ")), deny("actor_unknown")),
        (
            with(write(), "/actor/kind", json!("ghost")),
            deny("actor_unknown"),
        ),
        // P4: one tenant.
        (
            with(write(), "/actor/tenant", json!("other")),
            deny("tenant_mismatch"),
        ),
        (
            with(read(), "/target/tenant", json!("other")),
            deny("tenant_mismatch"),
        ),
        (with(read(), "/tenant", json!("")), deny("tenant_mismatch")),
        // P8: steps are looked at, one by one.
        (with(write(), "/steps", json!([])), deny("no_steps")),
        (with(write(), "/steps", json!("all")), deny("steps_malformed")),
        (
            with(write(), "/steps/0/risk", json!("high")),
            deny("risk_understated"),
        ),
        (
            with(write(), "/steps/0/effect", json!("none")),
            deny("kind_mismatch"),
        ),
        (
            with(read(), "/steps/0/effect", json!("converge")),
            deny("kind_mismatch"),
        ),
        (
            with(read(), "/steps/0/effect", json!("magic")),
            deny("step_malformed"),
        ),
        (
            with(write(), "/steps/0/guard", json!("luck")),
            deny("step_malformed"),
        ),
        (with(write(), "/steps/0/effect", json!("opaque")), ask("opaque")),
        (with(write(), "/steps/0/guard", json!("none")), ask("unguarded")),
        (
            with(write(), "/steps/0/irreversible", json!(true)),
            ask("irreversible"),
        ),
        (
            with(write(), "/target/protected", json!(true)),
            ask("protected_target"),
        ),
        (
            with(prod(), "/risk/blast_radius", json!("account")),
            ask("prod_account"),
        ),
        (with(write(), "/risk/blast_radius", json!("account")), ask("")),
        (
            with(write(), "/risk/blast_radius", json!("galaxy")),
            deny("blast_radius_unknown"),
        ),
        (with(prod(), "/risk/targets", json!(0)), deny("targets_uncounted")),
        (
            with(prod(), "/risk/targets", json!("9")),
            deny("targets_uncounted"),
        ),
        (with(prod(), "/risk/targets", json!(10)), ask("")),
        (with(prod(), "/risk/targets", json!(11)), deny("too_many_targets")),
        (with(write(), "/risk/targets", json!(50)), ask("")),
        (
            with(write(), "/risk/targets", json!(51)),
            deny("too_many_targets"),
        ),
        // Modes.
        (
            with(write(), "/target/mode", json!("observe")),
            deny("target_observed"),
        ),
        (with(write(), "/target/mode", json!("")), deny("target_observed")),
        (with(write(), "/target/mode", json!("propose")), ask("")),
        (
            at("act", with(write(), "/target/mode", json!("propose"))),
            deny("target_not_acting"),
        ),
        (
            with(read(), "/target/mode", json!("observe")),
            (Outcome::Allow, ""),
        ),
        // Freezes and windows stop forward acts, and nothing else.
        (with(write(), "/flags/frozen", json!(true)), ask("")),
        (
            at("act", with(write(), "/flags/frozen", json!(true))),
            deny("frozen"),
        ),
        (
            at("act", with(write(), "/flags/frozen", json!("no"))),
            deny("frozen"),
        ),
        (
            at("rollback", with(write(), "/flags/frozen", json!(true))),
            ask(""),
        ),
        (
            at("act", with(write(), "/flags/in_window", json!(false))),
            deny("outside_window"),
        ),
        (
            at("rollback", with(write(), "/flags/in_window", json!(false))),
            ask(""),
        ),
        // A rollback was part of what was approved.
        (
            at("rollback", with(write(), "/target/mode", json!("observe"))),
            ask(""),
        ),
        (
            at("rollback", with(write(), "/actor/role", json!("viewer"))),
            ask(""),
        ),
        (
            at("rollback", with(write(), "/target/protected", json!(true))),
            ask("protected_target"),
        ),
        (
            at("rollback", with(write(), "/actor/tenant", json!("other"))),
            deny("tenant_mismatch"),
        ),
        (
            with(at("rollback", write()), "/step", json!(7)),
            deny("step_unknown"),
        ),
        (with(at("act", write()), "/step", json!(7)), deny("step_unknown")),
        // The live gate: what was approved must still be enough.
        (at("act", write()), ask("")),
        (
            at("act", with(write(), "/target/protected", json!(true))),
            deny("tier_too_low"),
        ),
        // Break-glass is an admin's, in person.
        (
            with(write(), "/flags/break_glass", json!(true)),
            deny("break_glass_refused"),
        ),
        (
            with(
                question("dev", "high", "admin", "write"),
                "/flags/break_glass",
                json!(true),
            ),
            ask("high_risk"),
        ),
        (
            with(write(), "/action/phase", json!("later")),
            deny("phase_unknown"),
        ),
        (with(write(), "/action/kind", json!("both")), deny("kind_unknown")),
        (with(write(), "/action/name", json!("")), deny("action_unnamed")),
    ];
    for (input, (outcome, reason)) in table {
        let decided = engine.decide_value(&input);
        assert_eq!(decided.decision, outcome, "{input}: {:?}", decided.violations);
        match outcome {
            Outcome::Deny => assert!(
                decided.codes().contains(&reason),
                "{input}: {:?}",
                decided.codes()
            ),
            _ if reason.is_empty() => assert_eq!(decided.tier_reasons, Vec::<String>::new(), "{input}"),
            _ => assert_eq!(decided.tier_reasons, [reason], "{input}"),
        }
    }
}

/// Whatever field is left out, no answer gets friendlier, and a write never becomes free.
#[test]
fn a_missing_field_never_opens_a_door() {
    let engine = engine();
    for phase in ["plan", "act"] {
        let mut whole = question("prod", "medium", "operator", "write");
        whole["action"]["phase"] = json!(phase);
        whole["step"] = json!(0);
        for pointer in leaves(&whole, String::new()) {
            let mut input = whole.clone();
            remove(&mut input, &pointer);
            let decided = engine.decide_value(&input);
            let harmless = ["/actor/person_id", "/risk/tier"].contains(&pointer.as_str())
                || phase == "plan"
                    && ["/step", "/flags/frozen", "/flags/in_window"].contains(&pointer.as_str());
            let raised = decided.tier == Tier::Elevated;
            assert!(
                decided.decision == Outcome::Deny
                    || raised
                    || harmless && decided.decision == Outcome::RequireApproval,
                "{phase} without {pointer}: {decided:?}"
            );
        }
    }
}

fn leaves(value: &Value, at: String) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| (format!("{at}/{key}"), item))
            .collect(),
        Value::Array(items) => (0..)
            .zip(items)
            .map(|(i, item): (usize, _)| (format!("{at}/{i}"), item))
            .collect(),
        _ => Vec::new(),
    };
    let below = children.into_iter().flat_map(|(path, item)| leaves(item, path));
    let own = (!at.is_empty()).then_some(at.clone());
    own.into_iter().chain(below).collect()
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(key)),
        Some(Value::Array(items)) => drop(items.remove(key.parse().expect("an index"))),
        _ => panic!("{pointer} has no parent"),
    }
}
