//! One event of the log: what happened, by whom, about what.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::{Error, EventRow, leaf, store};
use crate::{
    domain::{Actor, EventId, ExecutionId, OpCtx, PlanId, TenantId, canonical, redact::Redactor},
    store::Tx,
};

/// Format version of [`Body`].
pub const VERSION: u16 = 1;

/// What was decided, when the event is a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is no decision.
    None,
    /// Allowed, granted.
    Allow,
    /// Refused.
    Deny,
    /// A person must decide.
    RequireApproval,
}

impl Decision {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
        }
    }
}

/// An event to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `noun.verb`: `plan.create`, `approval.grant`, `execution.finish`, `tool.refused`.
    pub action: &'static str,
    /// What was decided.
    pub decision: Decision,
    /// The row it is about, when that is neither a plan nor an execution.
    pub subject: Option<Uuid>,
    /// The plan it is about.
    pub plan_id: Option<PlanId>,
    /// The execution it is about.
    pub execution_id: Option<ExecutionId>,
    /// An object without secrets, nulls and floats.
    pub details: Value,
}

impl Event {
    /// An event that is no decision and about nothing in particular yet.
    #[must_use]
    pub const fn new(action: &'static str, details: Value) -> Self {
        Self {
            action,
            decision: Decision::None,
            subject: None,
            plan_id: None,
            execution_id: None,
            details,
        }
    }

    /// Says what was decided.
    #[must_use]
    pub fn decision(self, decision: Decision) -> Self {
        Self { decision, ..self }
    }

    /// Says which row it is about.
    #[must_use]
    pub fn subject(self, subject: impl Into<Uuid>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }

    /// Says which plan it is about.
    #[must_use]
    pub fn plan(self, plan_id: PlanId) -> Self {
        Self {
            plan_id: Some(plan_id),
            ..self
        }
    }

    /// Says which execution it is about.
    #[must_use]
    pub fn execution(self, execution_id: ExecutionId) -> Self {
        Self {
            execution_id: Some(execution_id),
            ..self
        }
    }
}

/// What a leaf commits to: the canonical bytes of this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Format version.
    pub v: u16,
    /// The event.
    pub event_id: EventId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// When, by the recorder's clock: RFC 3339 in UTC, microseconds.
    pub at: String,
    /// Who.
    pub actor: Actor,
    /// Under which request.
    pub request_id: String,
    /// What.
    pub action: String,
    /// What was decided.
    pub decision: Decision,
    /// The row it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Uuid>,
    /// The plan it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The execution it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// Everything else.
    pub details: Value,
}

/// Records `event` in the transaction of the change that it tells of: one statement, no lock. It gets its place in the log
/// from the sequencer, once that transaction has committed.
///
/// # Errors
/// [`Error::Tenant`] when the transaction is not bound to the context's tenant; [`Error::Details`] when the details have no
/// canonical form; [`Error::Store`] as every statement. The transaction must then be given up: nothing happens unrecorded.
pub async fn record(tx: &mut Tx, ctx: &OpCtx, event: Event) -> Result<EventId, Error> {
    let (event_id, row) = made(tx, ctx, &event)?;
    store::insert_event(tx, row).await?;
    Ok(event_id)
}

/// As [`record`], for a statement of a stage that calls `record_event` itself: one round trip less. Whoever asks for the row must write it.
///
/// # Errors
/// As [`record`], but for the database's.
pub fn row(tx: &Tx, ctx: &OpCtx, event: &Event) -> Result<EventRow, Error> {
    made(tx, ctx, event).map(|(_, row)| row)
}

fn made(tx: &Tx, ctx: &OpCtx, event: &Event) -> Result<(EventId, EventRow), Error> {
    if tx.tenant() != Some(&ctx.tenant) {
        return Err(Error::Tenant);
    }
    let body = body_of(ctx, event)?;
    let bytes = canonical::to_bytes(&body)?;
    let mut salt = [0; leaf::SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::Random)?;
    let leaf_hash = leaf::hash(&salt, &bytes);
    metrics::counter!("carapulse_audit_recorded_events", "decision" => event.decision.as_str()).increment(1);
    tracing::debug!(event_id = %body.event_id, action = event.action, request_id = %ctx.request_id, "audit event recorded");
    let row = EventRow::new(&body, bytes, &salt, &leaf_hash);
    Ok((body.event_id, row))
}

fn body_of(ctx: &OpCtx, event: &Event) -> Result<Body, Error> {
    let details = match &event.details {
        // The one place through which everything that is recorded goes.
        Value::Object(_) => normalised(&Redactor::new().redact_value(&event.details)),
        Value::Null => json!({}),
        _ => return Err(Error::DetailsObject),
    };
    let actor = Actor {
        name: ctx.actor.name.nfc().collect(),
        ..(*ctx.actor).clone()
    };
    Ok(Body {
        v: VERSION,
        event_id: ctx.id(),
        tenant_id: ctx.tenant.clone(),
        at: ctx.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        actor,
        request_id: ctx.request_id.nfc().collect(),
        action: event.action.to_owned(),
        decision: event.decision,
        subject: event.subject,
        plan_id: event.plan_id,
        execution_id: event.execution_id,
        details,
    })
}

/// Strings in normal form C and without U+0000, which the database has not: a stranger's text must not be able to keep an event
/// from being recorded.
fn normalised(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}").nfc().collect()),
        Value::Array(items) => items.iter().map(normalised).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), normalised(value)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ctx() -> OpCtx {
        let clock = crate::domain::ManualClock::new(chrono::DateTime::UNIX_EPOCH);
        OpCtx::new(Actor::system("test"), "default".parse().expect("tenant"), "r1")
            .with_clock(std::sync::Arc::new(clock))
    }

    #[test]
    fn the_body_is_canonical_and_reads_back() {
        let event = Event::new("plan.create", json!({"why": "e\u{301}"})).decision(Decision::Allow);
        let body = body_of(&ctx(), &event).expect("body");
        let bytes = canonical::to_bytes(&body).expect("canonical");
        assert_eq!(canonical::from_bytes::<Body>(&bytes).expect("reads back"), body);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.contains(r#""at":"1970-01-01T00:00:00.000000Z""#), "{text}");
        assert!(
            text.contains(r#""decision":"allow","details":{"why":"é"}"#),
            "{text}"
        );
        assert!(!text.contains("plan_id"), "{text}");
    }

    #[test]
    fn invariant_11_no_secret_gets_into_a_body_and_no_text_keeps_it_from_being_read() {
        let note = concat!("use ghp_", "0123456789abcdefghijklmnopqrstuvwxyzAB\0 today");
        let details =
            json!({"note": note, "deep": [{"password": "hunter2", "credential": "file:secrets/git"}]});
        let body = body_of(&ctx(), &Event::new("plan.create", details)).expect("body");
        let expected = json!({"note": "use ***\u{fffd} today", "deep": [{"password": "***", "credential": "file:secrets/git"}]});
        assert_eq!(body.details, expected);
    }

    #[test]
    fn details_that_are_no_object_are_refused() {
        assert!(matches!(
            body_of(&ctx(), &Event::new("x", json!([]))),
            Err(Error::DetailsObject)
        ));
    }
}
