use std::time::Duration;

use super::*;
use crate::{
    connectors::answering::serve,
    policy::{Bundle, Engine},
};

/// A question of the fixtures, as policy's callers ask it.
fn input() -> Input {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/policies/fixtures/write_protected.json"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(fixture["input"].clone()).unwrap()
}

fn opa(url: &str) -> Opa {
    Opa::new(url, Duration::from_secs(5)).unwrap()
}

fn engine() -> Engine {
    Engine::from_bundle(&Bundle::builtin()).unwrap()
}

#[tokio::test]
async fn a_full_queue_neither_holds_up_nor_changes_a_decision() {
    let (watched, alone) = (engine(), engine());
    let (witness, mut comparator) = channel(opa("http://127.0.0.1:1"), 2);
    assert!(watched.attach(witness.clone()));
    assert!(!watched.attach(witness), "one witness");
    for _ in 0..5 {
        assert_eq!(watched.decide(&input()), alone.decide(&input()));
    }
    for _ in 0..2 {
        let question = comparator.questions.try_recv().unwrap();
        assert_eq!(question.input, canonical::to_bytes(&input()).unwrap());
        assert_eq!(question.decision.bundle, Bundle::builtin().digest());
    }
    assert!(comparator.questions.try_recv().is_err(), "the others were let go");
}

#[tokio::test]
async fn an_unanswered_question_is_no_difference_and_the_next_one_is_asked_again() {
    let (witness, mut comparator) = channel(opa("http://127.0.0.1:1"), 8);
    let engine = engine();
    engine.attach(witness);
    let decision = engine.decide(&input());
    let question = comparator.questions.try_recv().unwrap();
    assert_eq!(question.decision, decision);
    assert_eq!(comparator.compare(&question).await, None);
    assert!(comparator.failing);
    comparator.opa = opa(&serve(|_, _| (200, "{}".to_owned())).await);
    let difference = comparator.compare(&question).await.unwrap();
    assert_eq!(difference.theirs.codes(), ["policy_undefined"]);
    assert!(!comparator.failing);
}

#[test]
fn each_failure_has_its_own_word() {
    let system = "opa";
    let (reason, message) = (String::new(), String::new());
    let errors = [
        connectors::Error::Timeout {
            system,
            limit_secs: 1,
        },
        connectors::Error::Unreachable { system, reason },
        connectors::Error::Status {
            system,
            status: 500,
            message,
        },
        connectors::Error::TooLong { system, cap_bytes: 1 },
    ];
    assert_eq!(
        errors.each_ref().map(kind),
        ["timeout", "unreachable", "status", "malformed"]
    );
}
