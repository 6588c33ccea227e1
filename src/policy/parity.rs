//! The compiled form, the interpreter and the checked-in expectations must agree; rules have their own tests in Rego.

use std::{path::PathBuf, time::Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Bundle, Decision, Engine, engine::failing_rules, interpret, truth_table::question};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    input: Value,
    expected: Value,
}

#[test]
fn fixtures_agree_in_both_engines() {
    let bundle = Bundle::builtin();
    let engine = Engine::from_bundle(&bundle).expect("builtin");
    let mut seen = 0;
    for path in files("fixtures", ".json") {
        let text = std::fs::read_to_string(&path).expect("fixture");
        let fixture: Fixture = serde_json::from_str(&text).expect("a fixture has input and expected");
        let decided = engine.decide_value(&fixture.input);
        assert_eq!(as_result(&decided), fixture.expected, "{}", path.display());
        assert_eq!(interpret(&bundle, &fixture.input), decided, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} fixtures");
}

/// In the words of the rules' own `result`, which is what OPA prints.
fn as_result(decision: &Decision) -> Value {
    json!({
        "decision": decision.decision,
        "violations": decision.violations,
        "constraints": decision.constraints,
        "ttl": decision.ttl_secs,
        "tier": decision.tier,
        "tier_reasons": decision.tier_reasons,
    })
}

/// Each `test_*` rule, in the interpreter: the compiled form knows no `with`.
#[test]
fn rego_tests_pass() {
    let rules = files("policy/assistant/v1", ".rego");
    let mut modules = Vec::new();
    let mut tests = Vec::new();
    for path in rules {
        let text = std::fs::read_to_string(&path).expect("rules");
        let name = path.display().to_string();
        if name.ends_with("_test.rego") {
            let found = text.lines().filter(|line| line.starts_with("test_"));
            tests.extend(found.filter_map(|line| line.split_whitespace().next().map(str::to_owned)));
        }
        modules.push((name, text));
    }
    assert!(tests.len() >= 20, "only {} tests", tests.len());
    let failed = failing_rules(&modules, &tests);
    assert!(failed.is_empty(), "{failed:?}");
}

/// Prints the figure; the bound only catches a change of kind (a debug build takes about ten times a release's time).
#[test]
fn a_decision_is_quick() {
    let engine = Engine::from_bundle(&Bundle::builtin()).expect("builtin");
    let mut input = question("prod", "medium", "operator", "write");
    let step = input["steps"][0].clone();
    input["steps"] = (0..10)
        .map(|ordinal| {
            let mut step = step.clone();
            step["ordinal"] = json!(ordinal);
            step
        })
        .collect();
    let mut micros: Vec<u128> = (0..500)
        .map(|_| {
            let start = Instant::now();
            assert!(engine.decide_value(&input).violations.is_empty());
            start.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!(
        "policy decision of 10 steps: p50 {} us, p99 {} us (debug build)",
        micros[250], micros[495]
    );
    assert!(micros[250] < 50_000, "p50 {} us", micros[250]);
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("policies")
        .join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}
