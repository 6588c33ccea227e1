//! The present state of what a plan would change: read once now, shown to the approver, required at the act.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Checks, StepRequest, problem::Problems, typed::Call};
use crate::{
    domain::plan::Args,
    tools::catalog::{CaptureSpec, Values, render, text_values},
};

/// What was read for one step.
#[derive(Default)]
pub(super) struct Prior {
    /// Values that the act requires: capture name → value.
    pub(super) expected: BTreeMap<String, String>,
    /// The whole answer.
    pub(super) raw: Option<Value>,
}

/// Reads for every step that captures. When two steps change the same thing, only the first can know what it will find.
pub(super) async fn read_all(
    requests: &[StepRequest],
    calls: &[Call<'_>],
    with: &Checks<'_>,
    problems: &mut Problems,
) -> Vec<Prior> {
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let mut priors = Vec::new();
    for (index, (call, request)) in calls.iter().zip(requests).enumerate() {
        let at = format!("/steps/{index}");
        let Some(capture) = &call.def.spec.capture else {
            refuse_unknown(&at, request, call, problems);
            priors.push(Prior::default());
            continue;
        };
        refuse_unknown(&at, request, call, problems);
        let read = match capture_args(capture, call) {
            Ok(args) => args,
            Err(why) => {
                problems.add(&at, "prior_unreadable", why);
                priors.push(Prior::default());
                continue;
            }
        };
        let place = json!([call.def.tool, capture.read, read]).to_string();
        if let Some(raw) = seen.get(&place) {
            priors.push(Prior {
                expected: BTreeMap::new(),
                raw: Some(raw.clone()),
            });
            continue;
        }
        let answer = with
            .reader
            .read(with.target.target_id, &call.def.tool, &capture.read, &read)
            .await;
        let prior = match answer {
            Ok(raw) => {
                seen.insert(place, raw.clone());
                expected(&at, capture, request, raw, problems)
            }
            Err(why) => {
                let message = format!("{}.{} could not be read: {why}", call.def.tool, capture.read);
                problems.add(&at, "prior_unreadable", message);
                Prior::default()
            }
        };
        priors.push(prior);
    }
    priors
}

/// Arguments of the capturing read: placeholders are arguments of the act.
fn capture_args(capture: &CaptureSpec, call: &Call<'_>) -> Result<Args, String> {
    let values = Values::from_iter(text_values(&call.args));
    let rendered = capture.args.iter().map(|(name, template)| {
        let text = render(template, &values).map_err(|missing| missing.to_string())?;
        Ok((name.clone(), Value::from(text)))
    });
    rendered.collect()
}

fn expected(
    at: &str,
    capture: &CaptureSpec,
    request: &StepRequest,
    raw: Value,
    problems: &mut Problems,
) -> Prior {
    let mut expected = BTreeMap::new();
    for (name, spec) in &capture.values {
        let found = spec.extract_from(&raw);
        if let Some(asked) = request.expected_prior.get(name)
            && found.as_ref() != Some(asked)
        {
            let message = format!(
                "expected {asked}, found {}",
                found.as_deref().unwrap_or("nothing")
            );
            problems.add(format!("{at}/expected_prior/{name}"), "drifted", message);
        }
        match found {
            Some(value) if spec.compared => drop(expected.insert(name.clone(), value)),
            Some(_) => {}
            None if spec.optional => {}
            None => problems.add(
                at,
                "prior_unreadable",
                format!("there is no `{name}` in what was read"),
            ),
        }
    }
    Prior {
        expected,
        raw: Some(raw),
    }
}

fn refuse_unknown(at: &str, request: &StepRequest, call: &Call<'_>, problems: &mut Problems) {
    let names = request.expected_prior.keys();
    for name in names.filter(|name| !call.def.compared.contains(*name)) {
        let message = "this action does not compare such a value";
        problems.add(format!("{at}/expected_prior/{name}"), "unknown_prior", message);
    }
}
