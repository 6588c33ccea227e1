//! A draft: steps that somebody proposes, in one form whatever they came from. Untrusted until checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    AssertionRequest, Intent, Limits, PriorReader, Proposal, StepRequest, Timing, What, remedy, resolve,
    secret_scan, sentence,
};
use crate::domain::{
    Digest, IncidentId, OpCtx, PersonId, PlanId, Target, TenantId,
    plan::{Requester, Trigger},
};

/// A proposed plan. Everything in it is still only what somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Id of the plan that it may become.
    pub plan_id: PlanId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Name of the target.
    pub target: String,
    /// What woke the system.
    pub trigger: Trigger,
    /// Who asked.
    pub requester: Requester,
    /// Who changed it since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub editors: Vec<PersonId>,
    /// The incident it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
    /// One line for people.
    pub summary: String,
    /// What was asked, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// What to do; empty when nobody knows.
    pub steps: Vec<StepRequest>,
    /// How success is measured, besides what the steps call for.
    pub assertions: Vec<AssertionRequest>,
    /// Timing of verification.
    pub timing: Timing,
    /// Narrower limits than policy's.
    pub limits: Limits,
    /// The snapshot that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// What is missing before this can be a plan. With it, it stays a draft: it cannot be checked or executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

/// Turns a proposal into steps, by rules. Names are resolved against `target`; commits and revisions by reads.
///
/// Never fails: what cannot be turned into steps is a draft that says what it lacks.
pub async fn draft(ctx: &OpCtx, target: &Target, reader: &dyn PriorReader, proposal: Proposal) -> Draft {
    let Proposal {
        trigger,
        requester,
        editors,
        incident_id,
        summary,
        what,
        assertions,
        timing,
        limits,
        snapshot,
    } = proposal;
    let (intent, resolved) = match what {
        What::Steps(steps) => (None, Ok(steps)),
        What::Intent(intent) => {
            let steps = resolve::steps(&intent, target, reader).await;
            (Some(title(&intent)), steps)
        }
        What::Remedy(remedy) => (Some(remedy.to_string()), remedy::steps(&remedy, target)),
        What::Text(text) => {
            let steps = match sentence::parse(&text) {
                Ok(intent) => resolve::steps(&intent, target, reader).await,
                Err(lacks) => Err(lacks.to_owned()),
            };
            (Some(text), steps)
        }
    };
    let (steps, lacks) = match resolved {
        Ok(steps) if steps.is_empty() => (Vec::new(), Some("steps: none were given".to_owned())),
        Ok(steps) => (steps, None),
        Err(lacks) => (Vec::new(), Some(lacks)),
    };
    let intent = intent
        .map(|text| clean(&text, 2000))
        .filter(|text| !text.is_empty());
    let summary = summary
        .map(|text| clean(&text, 300))
        .filter(|text| !text.is_empty())
        .or_else(|| intent.as_deref().map(|text| clean(text, 300)))
        .unwrap_or_else(|| summary_of(&steps, target));
    // A draft is stored and shown before anything is checked: a secret must not get that far.
    let secret = secret_scan::in_text(&summary) || intent.as_deref().is_some_and(secret_scan::in_text);
    let (summary, intent, steps, lacks) = if secret {
        let withheld = "withheld: it looks like it holds a secret".to_owned();
        (withheld.clone(), None, Vec::new(), Some(withheld))
    } else {
        (summary, intent, steps, lacks)
    };
    Draft {
        plan_id: ctx.id(),
        tenant_id: ctx.tenant.clone(),
        target: target.name.clone(),
        trigger,
        requester,
        editors,
        incident_id,
        summary,
        intent,
        steps: steps.into_iter().map(cleaned).collect(),
        assertions,
        timing,
        limits,
        snapshot,
        lacks,
    }
}

/// One line of at most `max_chars`, in normal form C, with control and direction characters shown as spaces.
pub(super) fn clean(text: &str, max_chars: usize) -> String {
    let shown = text.nfc().map(|c| if is_hidden(c) { ' ' } else { c });
    let line: String = shown.take(max_chars).collect();
    // Cutting cannot break the normal form: its pieces are in it, too.
    line.trim().to_owned()
}

/// Control characters, and those that turn or hide text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn cleaned(step: StepRequest) -> StepRequest {
    StepRequest {
        reason: step.reason.map(|text| clean(&text, 500)),
        ..step
    }
}

fn title(intent: &Intent) -> String {
    match intent {
        Intent::Scale { service, replicas } => format!("scale {service} to {replicas}"),
        Intent::Restart { service } => format!("restart {service}"),
        Intent::RollBack { service, to_revision } => match to_revision {
            Some(revision) => format!("roll back {service} to revision {revision}"),
            None => format!("roll back {service}"),
        },
        Intent::Revert {
            commit,
            last_change_of,
        } => match (commit, last_change_of) {
            (Some(commit), _) => format!("revert {commit}"),
            (None, Some(service)) => format!("revert the last change of {service}"),
            (None, None) => "revert".to_owned(),
        },
    }
}

fn summary_of(steps: &[StepRequest], target: &Target) -> String {
    let mut names: Vec<String> = steps.iter().map(|s| format!("{}.{}", s.tool, s.action)).collect();
    names.dedup();
    clean(&format!("{} on {}", names.join(", "), target.name), 300)
}
