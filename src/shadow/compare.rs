//! Two answers side by side.

use std::collections::BTreeSet;

use super::opa::Answer;
use crate::policy::{Decision, Violation};

/// How OPA's answer differs from ours. At least one of the two is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The fields of the answer that are not the same.
    pub fields: Vec<&'static str>,
    /// The bundles that OPA says it serves, when ours is not among them; `none` when it names none.
    pub other_bundle: Option<String>,
    /// What it decided.
    pub theirs: Decision,
}

/// Compares a decision with OPA's answer to the same question, which is read as our own engine's is. None: they agree.
#[must_use]
pub fn compare(ours: &Decision, answer: &Answer) -> Option<Difference> {
    let theirs = Decision::from_answer(answer.result.as_deref(), ours.bundle);
    let fields = differing(ours, &theirs);
    let wanted = ours.bundle.to_string();
    let other_bundle = (!answer.revisions.contains(&wanted)).then(|| {
        if answer.revisions.is_empty() {
            "none".to_owned()
        } else {
            answer.revisions.join(", ")
        }
    });
    if fields.is_empty() && other_bundle.is_none() {
        return None;
    }
    Some(Difference {
        fields,
        other_bundle,
        theirs,
    })
}

/// Sets compare as sets: an engine may list them in its own order.
fn differing(ours: &Decision, theirs: &Decision) -> Vec<&'static str> {
    let reasons = |of: &Decision| of.tier_reasons.iter().cloned().collect::<BTreeSet<_>>();
    let pairs = [
        ("decision", ours.decision == theirs.decision),
        ("violations", violations(ours) == violations(theirs)),
        ("constraints", ours.constraints == theirs.constraints),
        ("ttl", ours.ttl_secs == theirs.ttl_secs),
        ("tier", ours.tier == theirs.tier),
        ("tier_reasons", reasons(ours) == reasons(theirs)),
    ];
    pairs
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
}

/// Why an engine itself failed is told in its own words: only that it did counts.
fn violations(of: &Decision) -> BTreeSet<Violation> {
    let mut violations = of.violations.clone();
    for violation in &mut violations {
        if matches!(violation.code.as_str(), "policy_error" | "policy_undefined") {
            violation.message.clear();
        }
    }
    violations.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::Digest,
        policy::{Bundle, Engine},
    };

    /// What our rules say to a fixture, and that in the words of OPA.
    fn ours() -> (Decision, Value) {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/policies/fixtures/write_protected.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let fixture: Value = serde_json::from_str(&text).unwrap();
        let engine = Engine::from_bundle(&Bundle::builtin()).unwrap();
        (
            engine.decide_value(&fixture["input"]),
            fixture["expected"].clone(),
        )
    }

    fn said(result: &Value) -> Answer {
        Answer {
            result: Some(result.to_string()),
            revisions: vec![Bundle::builtin().digest().to_string()],
        }
    }

    #[test]
    fn the_same_answer_of_the_same_bundle_is_no_difference_in_whatever_order() {
        let (ours, mut theirs) = ours();
        assert_eq!(compare(&ours, &said(&theirs)), None);
        theirs["tier_reasons"] = json!(["a", "b"]);
        let mut listed = ours.clone();
        listed.tier_reasons = vec!["b".to_owned(), "a".to_owned()];
        assert_eq!(compare(&listed, &said(&theirs)), None);
    }

    #[test]
    fn every_field_of_the_answer_counts() {
        let (ours, right) = ours();
        let changed = |pointer: &str, value: Value| {
            let mut theirs = right.clone();
            *theirs.pointer_mut(pointer).unwrap() = value;
            compare(&ours, &said(&theirs)).expect(pointer).fields
        };
        assert_eq!(changed("/decision", json!("allow")), ["decision"]);
        assert_eq!(changed("/constraints/max_targets", json!(7)), ["constraints"]);
        assert_eq!(changed("/ttl", json!(1)), ["ttl"]);
        assert_eq!(changed("/tier", json!("standard")), ["tier"]);
        assert_eq!(changed("/tier_reasons", json!([])), ["tier_reasons"]);
        let mut denied = right.clone();
        denied["decision"] = json!("deny");
        denied["violations"] = json!([{"code": "x", "message": "y"}]);
        assert_eq!(
            compare(&ours, &said(&denied)).unwrap().fields,
            ["decision", "violations"]
        );
    }

    #[test]
    fn a_missing_or_malformed_answer_never_agrees_with_a_good_one() {
        let (ours, right) = ours();
        let mut half = right;
        half.as_object_mut().unwrap().remove("ttl");
        for answer in [said(&half), said(&json!(true))] {
            let difference = compare(&ours, &answer).unwrap();
            assert_eq!(difference.theirs.codes(), ["policy_error"]);
            assert!(difference.fields.contains(&"decision"));
        }
        let undefined = Answer {
            result: None,
            ..said(&Value::Null)
        };
        assert_eq!(
            compare(&ours, &undefined).unwrap().theirs.codes(),
            ["policy_undefined"]
        );
    }

    #[test]
    fn two_engines_that_both_fail_agree_whatever_they_call_it() {
        let ours = Decision::denied("policy_error", "our words", Bundle::builtin().digest());
        assert_eq!(compare(&ours, &said(&json!("nonsense"))), None);
    }

    #[test]
    fn another_bundle_is_a_difference_even_when_it_answers_alike() {
        let (ours, right) = ours();
        let mut answer = said(&right);
        answer.revisions = vec!["dev".to_owned()];
        let difference = compare(&ours, &answer).unwrap();
        assert_eq!(
            (difference.fields.len(), difference.other_bundle.as_deref()),
            (0, Some("dev"))
        );
        answer.revisions.clear();
        assert_eq!(
            compare(&ours, &answer).unwrap().other_bundle.as_deref(),
            Some("none")
        );
        let mut later = ours;
        later.bundle = Digest::of_content(b"a bundle that was activated since");
        assert!(compare(&later, &said(&right)).unwrap().other_bundle.is_some());
    }
}
