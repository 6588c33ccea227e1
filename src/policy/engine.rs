//! The rules in regorus. The only file that knows the engine.
//!
//! Decisions run in the compiled form (a new machine per question, under a timer); the interpreter is the second opinion
//! that a bundle must agree with before it is taken.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use regex::Regex;
use regorus::{
    Value as Rego,
    languages::rego::compiler::Compiler,
    rvm::{program::Program, vm::RegoVM},
    utils::limits::ExecutionTimerConfig,
};
use serde_json::Value;

use super::{Bundle, BundleError, Decision, Input, Witness, bundle::allowed_builtins, canary};
use crate::domain::Digest;

/// The rule that holds the whole answer.
const ENTRY_POINT: &str = "data.policy.assistant.v1.result";
/// Hard limit of one decision.
const TIMER: ExecutionTimerConfig = ExecutionTimerConfig {
    limit: Duration::from_millis(200),
    check_interval: NonZeroU32::new(64).expect("not zero"),
};
const MAX_INSTRUCTIONS: usize = 1_000_000;

/// The active rules, shared by all requests; swapped whole.
#[derive(Debug)]
pub struct Engine {
    rules: ArcSwap<Compiled>,
    witness: OnceLock<Arc<dyn Witness>>,
}

struct Compiled {
    program: Arc<Program>,
    digest: Digest,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Compiled").field(&self.digest).finish()
    }
}

impl Engine {
    /// Compiles a bundle, checks which functions it calls, and asks it the canaries.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, BundleError> {
        Ok(Self {
            rules: ArcSwap::from_pointee(Compiled::tested(bundle)?),
            witness: OnceLock::new(),
        })
    }

    /// From now on `witness` is told of every decision, after it was made. `false` when there is one already.
    pub fn attach(&self, witness: Arc<dyn Witness>) -> bool {
        self.witness.set(witness).is_ok()
    }

    /// Puts another bundle in place after the same checks. On an error the present one stays.
    pub fn swap(&self, bundle: &Bundle) -> Result<(), BundleError> {
        self.rules.store(Arc::new(Compiled::tested(bundle)?));
        Ok(())
    }

    /// The bundle that answers now.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.rules.load().digest
    }

    /// Answers. Never an error: whatever goes wrong is a denial with `policy_error` or `policy_undefined`.
    #[must_use]
    pub fn decide(&self, input: &Input) -> Decision {
        let decision = match serde_json::to_value(input) {
            Ok(value) => self.decide_value(&value),
            Err(error) => Decision::denied("policy_error", error.to_string(), self.digest()),
        };
        if let Some(witness) = self.witness.get() {
            witness.decided(input, &decision);
        }
        decision
    }

    /// Answers a question that is already JSON, however malformed: fixtures, simulation, other engines' inputs.
    #[must_use]
    pub fn decide_value(&self, input: &Value) -> Decision {
        self.rules.load().decide(input)
    }
}

/// Asks again when the limit has passed: a machine that is busy while a role starts says nothing about the rules. Rules that
/// are too slow are so each time.
fn in_time(decide: impl Fn() -> Decision) -> Decision {
    let mut tries = 5;
    loop {
        let began = Instant::now();
        let decided = decide();
        tries -= 1;
        if tries == 0 || began.elapsed() < TIMER.limit {
            return decided;
        }
    }
}

impl Compiled {
    fn tested(bundle: &Bundle) -> Result<Self, BundleError> {
        let compiled = Self::compile(bundle)?;
        for canary in canary::all() {
            let decided = in_time(|| compiled.decide(&canary.input));
            canary.check(&decided)?;
            let second = in_time(|| interpret(bundle, &canary.input));
            if second != decided {
                let why = format!("the interpreter answers {second:?}, the compiled form {decided:?}");
                return Err(BundleError::SelfTest {
                    canary: canary.name,
                    why,
                });
            }
        }
        Ok(compiled)
    }

    fn compile(bundle: &Bundle) -> Result<Self, BundleError> {
        refuse_dotted_calls(bundle)?;
        let mut engine = engine_with(bundle)?;
        let policy = engine
            .compile_with_entrypoint(&ENTRY_POINT.into())
            .map_err(|error| BundleError::Compile(error.to_string()))?;
        let program = Compiler::compile_from_policy(&policy, &[ENTRY_POINT])
            .map_err(|error| BundleError::Compile(error.to_string()))?;
        let allowed = allowed_builtins();
        let foreign = program
            .builtin_info_table
            .iter()
            .find(|info| !allowed.contains(&info.name));
        if let Some(info) = foreign {
            return Err(BundleError::Builtin(info.name.clone()));
        }
        Ok(Self {
            program,
            digest: bundle.digest(),
        })
    }

    fn decide(&self, input: &Value) -> Decision {
        let mut vm = RegoVM::new();
        vm.load_program(Arc::clone(&self.program));
        vm.set_execution_timer_config(Some(TIMER));
        vm.set_max_instructions(MAX_INSTRUCTIONS);
        vm.set_strict_builtin_errors(false);
        if let Err(error) = vm.set_data(Rego::new_object()) {
            return Decision::denied("policy_error", error.to_string(), self.digest);
        }
        vm.set_input(Rego::from(input.clone()));
        read_answer(vm.execute_entry_point_by_name(ENTRY_POINT), self.digest)
    }
}

/// The same question to the interpreter, slowly: for parity at activation, in tests and in simulation.
#[must_use]
pub fn interpret(bundle: &Bundle, input: &Value) -> Decision {
    let answer = engine_with(bundle)
        .map_err(|error| error.to_string())
        .and_then(|mut engine| {
            engine.set_input(Rego::from(input.clone()));
            engine
                .eval_rule(ENTRY_POINT.to_owned())
                .map_err(|error| error.to_string())
        });
    read_answer(answer, bundle.digest())
}

fn engine_with(bundle: &Bundle) -> Result<regorus::Engine, BundleError> {
    let mut engine = regorus::Engine::new();
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: Duration::from_secs(2),
        ..TIMER
    });
    for (path, text) in bundle.files() {
        engine
            .add_policy(path.to_owned(), text.to_owned())
            .map_err(|error| BundleError::Compile(error.to_string()))?;
    }
    Ok(engine)
}

/// Those of `rules` that are not true in `modules` (path, text), in the interpreter.
#[cfg(test)]
pub(super) fn failing_rules(modules: &[(String, String)], rules: &[String]) -> Vec<String> {
    let mut engine = regorus::Engine::new();
    for (path, text) in modules {
        engine.add_policy(path.clone(), text.clone()).expect(path);
    }
    let mut holds = |rule: &String| {
        let value = engine.eval_rule(format!("data.policy.assistant.v1.{rule}"));
        value.expect(rule) == Rego::from(true)
    };
    rules.iter().filter(|rule| !holds(rule)).cloned().collect()
}

/// The compiled program lists what it can reach; this finds `http.send(` and its like in rules that it cannot reach, too.
fn refuse_dotted_calls(bundle: &Bundle) -> Result<(), BundleError> {
    let strings = Regex::new(r#"(?s)"(?:[^"\\]|\\.)*"|`[^`]*`|#[^\n]*"#).expect("a constant pattern");
    let calls = Regex::new(r"\b([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)+)\s*\(").expect("a constant pattern");
    let allowed = allowed_builtins();
    for (_, text) in bundle.files() {
        let code = strings.replace_all(text, "\"\"");
        for call in calls.captures_iter(&code) {
            let name = &call[1];
            if !name.starts_with("data.") && !allowed.contains(name) {
                return Err(BundleError::Builtin(name.to_owned()));
            }
        }
    }
    Ok(())
}

fn read_answer<E: std::fmt::Display>(answer: Result<Rego, E>, bundle: Digest) -> Decision {
    match answer {
        Ok(Rego::Undefined) => Decision::from_answer(None, bundle),
        Ok(value) => match value.to_json_str() {
            Ok(json) => Decision::from_answer(Some(&json), bundle),
            Err(error) => Decision::denied("policy_error", error.to_string(), bundle),
        },
        Err(error) => Decision::denied("policy_error", error.to_string(), bundle),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::policy::Outcome;

    fn rules(text: &str) -> Bundle {
        let path = "policy/assistant/v1/base.rego".to_owned();
        Bundle::new(BTreeMap::from([(
            path,
            format!("package policy.assistant.v1\n{text}"),
        )]))
        .expect("bundle")
    }

    fn answer(text: &str) -> Decision {
        Compiled::compile(&rules(text))
            .expect("compiles")
            .decide(&json!({"n": 1}))
    }

    #[test]
    fn whatever_is_not_a_plain_answer_is_a_denial() {
        let whole = r#""violations": [], "constraints": {"max_targets": 1, "approval_ttl_secs": 1, "max_duration_secs": 1, "break_glass": false}, "ttl": 0, "tier": "read", "tier_reasons": []"#;
        let good = answer(&format!(r#"result := {{"decision": "allow", {whole}}}"#));
        assert_eq!(good.decision, Outcome::Allow);
        for (text, code) in [
            ("result := 1 if input.n == 2".to_owned(), "policy_undefined"),
            (r#"result := """#.to_owned(), "policy_error"),
            ("result := {}".to_owned(), "policy_error"),
            ("result := null".to_owned(), "policy_error"),
            ("result := true".to_owned(), "policy_error"),
            (
                format!(r#"result := {{"decision": "", {whole}}}"#),
                "policy_error",
            ),
            (
                format!(r#"result := {{"decision": "maybe", {whole}}}"#),
                "policy_error",
            ),
            (
                format!(r#"result := {{"decision": "Allow", {whole}}}"#),
                "policy_error",
            ),
            (
                format!(r#"result := {{"decision": "allow", "more": 1, {whole}}}"#),
                "policy_error",
            ),
            (
                format!(r#"result := {{"decision": "deny", {whole}}}"#),
                "policy_error",
            ),
            ("result := 1\nresult := 2".to_owned(), "policy_undefined"),
        ] {
            let decided = answer(&text);
            assert_eq!(decided.decision, Outcome::Deny, "{text}");
            assert_eq!(decided.codes(), [code], "{text}");
        }
    }

    #[test]
    fn a_rule_that_does_not_end_is_a_denial() {
        let decided = answer(
            "result := count([1 | some a in numbers; some b in numbers; some c in numbers; a + b + c > 0])\n\
             numbers := [n | some x in tens; some y in tens; n := x * 10 + y]\n\
             tens := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
        );
        assert_eq!(decided.decision, Outcome::Deny);
        assert_eq!(decided.codes(), ["policy_error"]);
    }

    #[test]
    fn functions_that_are_not_listed_are_refused_even_where_nothing_reaches_them() {
        for text in [
            r#"result := http.send({"method": "get", "url": "http://x"})"#,
            "result := time.now_ns()",
            "result := 1\nunused := time.now_ns()",
            "result := 1\nunused := http.send(input)",
            "result := base64.encode(\"x\")",
        ] {
            let error = Compiled::compile(&rules(text)).expect_err(text);
            assert!(matches!(error, BundleError::Builtin(_)), "{text}: {error}");
        }
        let in_text_only = r#"result := "http.send(" # time.now_ns()"#;
        assert!(Compiled::compile(&rules(in_text_only)).is_ok());
    }

    #[test]
    fn a_bundle_without_our_package_or_with_open_doors_is_refused_and_the_last_good_stays() {
        let engine = Engine::from_bundle(&Bundle::builtin()).expect("builtin");
        let digest = engine.digest();
        let allow_all = r#"result := {"decision": "allow", "violations": [], "constraints": {"max_targets": 1, "approval_ttl_secs": 1, "max_duration_secs": 1, "break_glass": false}, "ttl": 0, "tier": "read", "tier_reasons": []}"#;
        let elsewhere = Bundle::new(BTreeMap::from([(
            "policy/x.rego".to_owned(),
            "package x\ny := 1".to_owned(),
        )]));
        for bundle in [
            rules(allow_all),
            rules("result := {"),
            rules("other := 1"),
            elsewhere.expect("bundle"),
        ] {
            assert!(engine.swap(&bundle).is_err());
            assert_eq!(engine.digest(), digest);
            assert_eq!(engine.decide_value(&json!({})).decision, Outcome::Deny);
        }
    }
}
