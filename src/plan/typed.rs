//! Requested calls become steps: arguments checked, stage and inverse fixed, the present state read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    AssertionRequest, Checks, Draft, Rejected, StepRequest, assertions, draft::clean, prior,
    problem::Problems, secret_scan,
};
use crate::{
    domain::{
        EffectKind, Target,
        plan::{Args, Assertion, Comparison, Stage, Step},
    },
    tools::catalog::{ActionDef, Class, Place},
};

/// The steps in the order in which they run, and how success is measured.
pub(super) struct Typed {
    pub(super) steps: Vec<Step>,
    pub(super) assertions: Vec<Assertion>,
}

/// Types all steps of a draft, or says everything that is wrong with them.
pub(super) async fn steps(draft: &Draft, with: &Checks<'_>) -> Result<Typed, Rejected> {
    let mut problems = Problems::default();
    let calls = check_calls(draft, with, &mut problems);
    let asked = check_assertions("/assertions", &draft.assertions, with, &mut problems);
    let preconditions: Vec<_> = (0..)
        .zip(&draft.steps)
        .map(|(i, step): (usize, _)| {
            check_assertions(
                &format!("/steps/{i}/preconditions"),
                &step.preconditions,
                with,
                &mut problems,
            )
        })
        .collect();
    problems.none()?;

    let mut problems = Problems::default();
    let priors = prior::read_all(&draft.steps, &calls, with, &mut problems).await;
    problems.none()?;

    let mut steps = Vec::new();
    let mut called_for = Vec::new();
    for (((call, request), prior), preconditions) in
        calls.iter().zip(&draft.steps).zip(priors).zip(preconditions)
    {
        if call.def.class == Class::Write {
            let raw = prior.raw.as_ref();
            called_for.extend(assertions::of_write(
                &call.def.tool,
                &call.def.action,
                &call.args,
                raw,
            ));
        }
        steps.push(call.step(request, prior.expected, preconditions, with));
    }
    let mut problems = Problems::default();
    let called_for = check_assertions("/verification", &called_for, with, &mut problems);
    let assertions = distinct(asked.into_iter().chain(called_for));
    let writes = steps.iter().any(|step| step.effect != EffectKind::None);
    if writes && assertions.is_empty() {
        problems.add(
            "/assertions",
            "no_assertions",
            "a plan that writes says how its success is measured",
        );
    }
    problems.none()?;
    let evidence: BTreeSet<String> = assertions.iter().map(|a| a.evidence_kind.clone()).collect();
    for step in steps.iter_mut().filter(|step| step.effect != EffectKind::None) {
        step.evidence_required = evidence.iter().cloned().collect();
    }
    steps.sort_by_key(|step| step.stage);
    Ok(Typed { steps, assertions })
}

/// A call whose arguments fit the catalogue.
pub(super) struct Call<'a> {
    pub(super) def: &'a ActionDef,
    pub(super) args: Args,
    stage: Stage,
}

impl Call<'_> {
    fn step(
        &self,
        request: &StepRequest,
        expected_prior: BTreeMap<String, String>,
        preconditions: Vec<Assertion>,
        with: &Checks<'_>,
    ) -> Step {
        let reason = request.reason.as_deref().map(|text| clean(text, 500));
        Step {
            stage: self.stage,
            tool: self.def.tool.clone(),
            action: self.def.action.clone(),
            action_digest: self.def.digest,
            args: self.args.clone(),
            reason: reason.unwrap_or_else(|| clean(&self.def.summary, 500)),
            risk: self.def.risk,
            effect: self.def.effect,
            guard: self.def.guard,
            expected_prior,
            inverse: self.def.inverse_for(&self.args, with.catalog),
            preconditions,
            evidence_required: Vec::new(),
            timeout_secs: self.def.timeout_secs,
        }
    }
}

fn check_calls<'a>(draft: &Draft, with: &Checks<'a>, problems: &mut Problems) -> Vec<Call<'a>> {
    let catalog = with.catalog;
    let is_write = |step: &StepRequest| {
        let def = catalog.action(&step.tool, &step.action);
        def.is_some_and(|def| def.class == Class::Write)
    };
    let first_write = draft.steps.iter().position(is_write);
    let mut calls = Vec::new();
    for (index, request) in draft.steps.iter().enumerate() {
        let at = format!("/steps/{index}");
        let Some(def) = catalog
            .action(&request.tool, &request.action)
            .filter(|def| !def.internal)
        else {
            let message = format!(
                "the catalogue has no action `{}` of `{}`",
                request.action, request.tool
            );
            problems.add(format!("{at}/action"), "unknown_action", clean(&message, 200));
            continue;
        };
        refuse_place(&at, def, with.target, problems);
        refuse_managed(&at, def, request, with, problems);
        if request.reason.as_deref().is_some_and(secret_scan::in_text) {
            problems.add(
                format!("{at}/reason"),
                "secret_in_plan",
                "this looks like a secret",
            );
        }
        let after_write = first_write.is_some_and(|first| index > first);
        let stage = stage_of(&at, def, request.stage, after_write, problems);
        if let Some(args) = check_args(&at, def, &request.args, problems) {
            calls.push(Call { def, args, stage });
        }
    }
    calls
}

fn check_args(at: &str, def: &ActionDef, given: &Args, problems: &mut Problems) -> Option<Args> {
    let mut clean = true;
    for (name, _) in given.iter().filter(|(_, value)| secret_scan::in_value(value)) {
        problems.add(
            pointer(at, name),
            "secret_in_plan",
            "this looks like a secret: give a reference",
        );
        clean = false;
    }
    match def.check_args(given) {
        Ok(args) => clean.then_some(args),
        Err(errors) => {
            for error in errors {
                problems.add(pointer(at, &error.arg), "bad_argument", error.message);
            }
            None
        }
    }
}

/// `~` and `/` are escaped as JSON pointers want it.
fn pointer(at: &str, arg: &str) -> String {
    format!("{at}/args/{}", arg.replace('~', "~0").replace('/', "~1"))
}

/// Writes act (or annotate); reads look before or after.
fn stage_of(
    at: &str,
    def: &ActionDef,
    asked: Option<Stage>,
    after_write: bool,
    problems: &mut Problems,
) -> Stage {
    let usual = match (def.class, after_write) {
        (Class::Write, _) => Stage::Act,
        (Class::Read, false) => Stage::Diagnose,
        (Class::Read, true) => Stage::Verify,
    };
    let stage = asked.unwrap_or(usual);
    if def.class == Class::Write && matches!(stage, Stage::Diagnose | Stage::Verify) {
        let message = "a write runs in stage act or annotate";
        problems.add(format!("{at}/stage"), "wrong_stage", message);
    }
    stage
}

fn refuse_place(at: &str, def: &ActionDef, target: &Target, problems: &mut Problems) {
    let has = match def.place {
        Place::Git => target.git.is_some(),
        Place::Kubernetes => target.kubernetes.is_some(),
        Place::Prometheus => target.prometheus_url.is_some(),
    };
    if !has {
        let message = format!(
            "target `{}` has nothing that {} could work on",
            target.name, def.tool
        );
        problems.add(format!("{at}/tool"), "target_lacks_place", message);
    }
}

/// What something else owns is changed through its owner: a direct change would be undone, or fought over.
fn refuse_managed(
    at: &str,
    def: &ActionDef,
    request: &StepRequest,
    with: &Checks<'_>,
    problems: &mut Problems,
) {
    let resource = request.args.get("resource").and_then(Value::as_str);
    let owners = resource.and_then(|resource| with.managed.get(resource));
    if let (Class::Write, Some(owners)) = (def.class, owners) {
        let message = format!("it is managed by {}: change it there", owners.join(", "));
        problems.add(pointer(at, "resource"), "target_is_managed", message);
    }
}

fn check_assertions(
    at: &str,
    asked: &[AssertionRequest],
    with: &Checks<'_>,
    problems: &mut Problems,
) -> Vec<Assertion> {
    let mut checked = Vec::new();
    for (index, request) in asked.iter().enumerate() {
        let at = format!("{at}/{index}");
        let def = with.catalog.action(&request.tool, &request.action);
        let Some(def) = def.filter(|def| def.class == Class::Read && !def.internal) else {
            let message = clean(
                &format!("`{}.{}` is not a read", request.tool, request.action),
                200,
            );
            problems.add(format!("{at}/action"), "unknown_read", message);
            continue;
        };
        refuse_place(&at, def, with.target, problems);
        if !(request.pointer.is_empty() || request.pointer.starts_with('/')) || request.pointer.len() > 300 {
            problems.add(
                format!("{at}/pointer"),
                "bad_pointer",
                "a JSON pointer is empty or starts with `/`",
            );
        }
        let ordered = !matches!(request.op, Comparison::Eq | Comparison::Ne);
        if ordered && !is_decimal(&request.value) {
            problems.add(
                format!("{at}/value"),
                "bad_threshold",
                "an order is of decimal numbers, as in `0.05`",
            );
        }
        let named = request.name.as_deref().map(|name| clean(name, 200));
        if let Some(args) = check_args(&at, def, &request.args, problems) {
            checked.push(Assertion {
                name: named.unwrap_or_else(|| format!("{}.{} {}", def.tool, def.action, request.pointer)),
                tool: def.tool.clone(),
                action: def.action.clone(),
                action_digest: def.digest,
                args,
                pointer: request.pointer.clone(),
                op: request.op,
                value: request.value.clone(),
                evidence_kind: def.evidence_kind.clone(),
            });
        }
    }
    checked
}

/// Drops repetitions and makes names unique.
fn distinct(all: impl Iterator<Item = Assertion>) -> Vec<Assertion> {
    let mut kept: Vec<Assertion> = Vec::new();
    for mut assertion in all {
        let same = |other: &Assertion| {
            Assertion {
                name: assertion.name.clone(),
                ..other.clone()
            } == assertion
        };
        if kept.iter().any(same) {
            continue;
        }
        let name = assertion.name.clone();
        let mut number = 2;
        while kept.iter().any(|other| other.name == assertion.name) {
            assertion.name = format!("{name} ({number})");
            number += 1;
        }
        kept.push(assertion);
    }
    kept
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    text.len() <= 40 && digits(whole) && digits(fraction)
}
