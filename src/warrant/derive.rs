//! Which call an act is: from the plan's bytes, and for a rollback from what the forward attempt captured. Pure.

use serde_json::Value;

use super::{Forward, Live, LiveAction, Refusal, store::Rows};
use crate::domain::{
    Digest, EffectKind,
    plan::{Args, Inverse, Step},
    run::{ActRef, Captured, Direction},
};

/// The call.
pub(super) struct Derived {
    pub(super) tool: String,
    pub(super) action: String,
    pub(super) args: Args,
    pub(super) effect: EffectKind,
    pub(super) timeout_secs: u32,
    pub(super) forward: Forward,
}

/// Derives the call and checks that the live definition is the pinned one.
pub(super) fn call(rows: &Rows, act: &ActRef, step: &Step, live: &Live<'_>) -> Result<Derived, Refusal> {
    match act.direction {
        Direction::Forward => forward(step, live),
        Direction::Rollback => rollback(rows, act, step, live),
    }
}

fn forward(step: &Step, live: &Live<'_>) -> Result<Derived, Refusal> {
    let now = pinned(live, &step.tool, &step.action, step.action_digest)?;
    if now.effect != step.effect || now.risk > step.risk {
        return Err(Refusal::new(
            "step_understated",
            "the plan states another effect or a lower risk than the action has",
        ));
    }
    if let Inverse::Action {
        tool,
        action,
        action_digest,
        ..
    } = &step.inverse
    {
        pinned(live, tool, action, *action_digest)?;
    }
    Ok(Derived {
        tool: step.tool.clone(),
        action: step.action.clone(),
        args: step.args.clone(),
        effect: now.effect,
        timeout_secs: step.timeout_secs.min(now.timeout_secs),
        forward: Forward::default(),
    })
}

fn rollback(rows: &Rows, act: &ActRef, step: &Step, live: &Live<'_>) -> Result<Derived, Refusal> {
    let Inverse::Action {
        tool,
        action,
        action_digest,
        args,
    } = &step.inverse
    else {
        return Err(Refusal::new("no_inverse", "the step has no inverse"));
    };
    let now = pinned(live, tool, action, *action_digest)?;
    let forward = rows
        .attempts
        .iter()
        .filter(|a| a.step == act.step && a.direction == Direction::Forward)
        .filter(|a| matches!(a.status.as_str(), "done" | "unknown"))
        .max_by_key(|a| a.attempt)
        .ok_or_else(|| Refusal::new("nothing_to_undo", "no forward attempt of this step took effect"))?;
    let forward = Forward {
        prior: forward.prior.clone(),
        result: forward.result.clone(),
    };
    let args = args
        .iter()
        .map(|(name, value)| Ok((name.clone(), substitute(value, &forward)?)));
    Ok(Derived {
        tool: tool.clone(),
        action: action.clone(),
        args: args.collect::<Result<_, Refusal>>()?,
        effect: now.effect,
        timeout_secs: now.timeout_secs,
        forward,
    })
}

fn pinned(live: &Live<'_>, tool: &str, action: &str, digest: Digest) -> Result<LiveAction, Refusal> {
    let now = (live.action)(tool, action).ok_or_else(|| {
        Refusal::new(
            "action_unknown",
            format!("{tool}.{action} is not in the catalogue"),
        )
    })?;
    if now.digest != digest {
        let message = format!("the definition of {tool}.{action} is not the one that was approved");
        return Err(Refusal::new("action_digest", message));
    }
    Ok(now)
}

fn substitute(value: &Value, forward: &Forward) -> Result<Value, Refusal> {
    let Some(text) = value.as_str().filter(|text| text.starts_with('$')) else {
        return Ok(value.clone());
    };
    resolve(text, forward).map(Value::from)
}

/// The value that `$prior.NAME` or `$result.NAME` stands for.
pub(crate) fn resolve(text: &str, forward: &Forward) -> Result<String, Refusal> {
    let look = |values: &Captured, name: &str| values.get(name).cloned();
    let found = match text.split_once('.') {
        Some(("$prior", name)) => look(&forward.prior, name),
        Some(("$result", name)) => look(&forward.result, name),
        _ => None,
    };
    found.ok_or_else(|| Refusal::new("prior_missing", format!("the forward attempt left no `{text}`")))
}
