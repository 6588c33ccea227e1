//! From a difference to a person: an audit event by the role that saw it, a page by the orchestrator that reads it.
//!
//! Two steps, because the tool-router may record, but not write to people; and because a page must follow even when the
//! process that saw the difference is gone.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Difference, Error, Question};
use crate::{
    audit::{self, Filter, Order, Page, Recorded},
    domain::{OpCtx, TenantId},
    notify::{self, Kind, Notification, Severity},
    store::{Db, Tx},
};

/// The audit event of a difference.
pub const ACTION: &str = "policy.shadow_difference";
/// A process records one difference a tenant in this time; all are counted and logged.
const RECORD_EVERY: Duration = Duration::from_secs(60);
/// A page is still sent for what was recorded this long ago.
const LOOK_BACK: TimeDelta = TimeDelta::hours(24);

/// What one process recorded lately.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    recorded: HashMap<TenantId, Instant>,
}

impl Alarm {
    /// Records a difference, unless this process did so for the tenant within the last minute.
    pub(super) async fn record(
        &mut self,
        db: &Db,
        question: &Question,
        difference: &Difference,
    ) -> Result<(), Error> {
        let tenant = &question.tenant;
        let lately = self.recorded.get(tenant);
        if lately.is_some_and(|at| at.elapsed() < RECORD_EVERY) {
            return Ok(());
        }
        let mut tx = db.begin(tenant).await?;
        let ctx = OpCtx::system("policy-shadow", tenant.clone());
        audit::record(
            &mut tx,
            &ctx,
            audit::Event::new(ACTION, details(question, difference)),
        )
        .await?;
        tx.commit().await?;
        self.recorded.insert(tenant.clone(), Instant::now());
        Ok(())
    }
}

fn details(question: &Question, difference: &Difference) -> Value {
    let mut details = json!({
        "action": question.action,
        "target": question.target,
        "input_digest": question.digest(),
        "bundle": question.decision.bundle,
        "fields": difference.fields,
        "ours": question.decision.decision,
        "ours_codes": question.decision.codes(),
        "theirs": difference.theirs.decision,
        "theirs_codes": difference.theirs.codes(),
    });
    if let Some(other) = &difference.other_bundle {
        details["other_bundle"] = json!(other);
    }
    details
}

/// Pages people about what the tenant's log holds of the last day: once for each bundle and hour, whoever asks how often.
/// `tx` is of the orchestrator's role. Answers how many pages were new.
///
/// # Errors
/// [`Error`]: the transaction must then be given up.
pub async fn page_recorded(tx: &mut Tx, ctx: &OpCtx) -> Result<usize, Error> {
    let filter = Filter {
        action: Some(ACTION.to_owned()),
        from: Some(ctx.now() - LOOK_BACK),
        ..Filter::default()
    };
    let newest = Page {
        order: Order::NewestFirst,
        after: None,
        limit: audit::MAX_PAGE,
    };
    let mut pages = BTreeMap::new();
    for event in audit::list(tx, &filter, &newest).await? {
        pages.entry(key(&event)).or_insert(event);
    }
    let mut sent = 0;
    for (dedupe_key, event) in pages {
        let page = Notification {
            kind: Kind::NeedsAttention,
            severity: Severity::Page,
            subject: subject(&event.body.details),
            body: event.body.details,
            dedupe_key,
        };
        sent += usize::from(notify::send(tx, ctx, page).await?.is_some());
    }
    Ok(sent)
}

fn key(event: &Recorded) -> String {
    let bundle = event.body.details["bundle"].as_str().unwrap_or_default();
    format!(
        "policy_shadow/{bundle}/{}",
        event.recorded_at.format("%Y-%m-%dT%H")
    )
}

fn subject(details: &Value) -> String {
    let text = |name: &str| details[name].as_str().unwrap_or_default();
    if details["fields"].as_array().is_some_and(Vec::is_empty) {
        format!(
            "policy: OPA serves another bundle ({}) than the active one",
            text("other_bundle")
        )
    } else {
        format!(
            "policy: OPA says {} where carapulse says {} ({})",
            text("theirs"),
            text("ours"),
            text("action")
        )
    }
}
