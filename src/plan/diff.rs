//! A plan for people: what changes, line by line, and what is at stake.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::domain::{
    EffectKind, Risk, Tier,
    plan::{Inverse, PlanDoc, Step},
};

/// One step, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DiffLine {
    /// From 0.
    pub ordinal: u32,
    /// `diagnose`, `act`, `verify` or `annotate`.
    pub stage: String,
    /// `kubectl.scale resource=deployment/checkout replicas=4`.
    pub call: String,
    /// Whether it writes.
    pub writes: bool,
    /// What is there now (`replicas=3`); the act is refused when this has changed.
    pub before: Vec<String>,
    /// What the step sets, of what is compared.
    pub after: Vec<String>,
    /// How it is undone.
    pub undo: String,
    /// Why.
    pub reason: String,
}

/// What is at stake, in a few lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RiskSummary {
    /// Highest risk of the steps.
    pub risk: Risk,
    /// Which approval is needed.
    pub tier: Tier,
    /// How many steps write.
    pub writes: u32,
    /// Why, one line a reason.
    pub reasons: Vec<String>,
}

/// Each step as a line, before → after.
#[must_use]
pub fn diff(doc: &PlanDoc) -> Vec<DiffLine> {
    (0..)
        .zip(&doc.steps)
        .map(|(ordinal, step)| line(ordinal, step))
        .collect()
}

/// What is at stake.
#[must_use]
pub fn risk_summary(doc: &PlanDoc) -> RiskSummary {
    let writes = doc.writes().count();
    let mut reasons = vec![format!(
        "{writes} of {} steps write, on target {} ({})",
        doc.steps.len(),
        doc.target.name,
        doc.target.context.environment
    )];
    for (ordinal, step) in (0_u32..)
        .zip(&doc.steps)
        .filter(|(_, step)| step.effect != EffectKind::None)
    {
        let name = format!("step {ordinal} {}.{}", step.tool, step.action);
        reasons.push(format!("{name}: risk {}", step.risk.as_str()));
        if let Inverse::Irreversible { reason } = &step.inverse {
            reasons.push(format!("{name} cannot be undone: {reason}"));
        }
        if step.effect == EffectKind::Opaque {
            reasons.push(format!(
                "{name} leaves no trace: after a crash nobody knows whether it took effect"
            ));
        }
    }
    RiskSummary {
        risk: doc.risk,
        tier: doc.tier,
        writes: u32::try_from(writes).unwrap_or(u32::MAX),
        reasons,
    }
}

fn line(ordinal: u32, step: &Step) -> DiffLine {
    let args = step
        .args
        .iter()
        .map(|(name, value)| format!("{name}={}", shown(value)));
    let call: Vec<String> = std::iter::once(format!("{}.{}", step.tool, step.action))
        .chain(args)
        .collect();
    let after = step.expected_prior.keys().filter_map(|name| {
        let value = step.args.get(name)?;
        Some(format!("{name}={}", shown(value)))
    });
    DiffLine {
        ordinal,
        stage: step.stage.as_str().to_owned(),
        call: call.join(" "),
        writes: step.effect != EffectKind::None,
        before: step
            .expected_prior
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        after: after.collect(),
        undo: undo(&step.inverse),
        reason: step.reason.clone(),
    }
}

fn undo(inverse: &Inverse) -> String {
    match inverse {
        Inverse::None => "nothing to undo".to_owned(),
        Inverse::Irreversible { reason } => format!("cannot be undone: {reason}"),
        Inverse::Action {
            tool, action, args, ..
        } => {
            let args = args
                .iter()
                .map(|(name, value)| format!(" {name}={}", shown(value)));
            format!("{tool}.{action}{}", args.collect::<String>())
        }
    }
}

/// Text as JSON shows it when it is not plain: no character can pass for another.
fn shown(value: &Value) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    match value {
        Value::String(text) if !text.is_empty() && text.chars().all(plain) => text.clone(),
        other => other.to_string(),
    }
}
