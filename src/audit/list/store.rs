//! SQL that reads `audit_event` for one tenant.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{Filter, Leaf, Order, Page, Recorded};
use crate::{
    audit::{
        Body, Decision,
        store::{bytes, signed, unsigned},
    },
    domain::{Actor, ActorKind, ExecutionId, PlanId, Role},
    store::{Error, Tx},
};

struct EventRow {
    position: i64,
    event_id: Uuid,
    recorded_at: DateTime<Utc>,
    body: Vec<u8>,
}

/// One statement for each leading condition and order, so that each walks its own index and stops after `limit` rows.
macro_rules! page_by {
    ($tx:expr, $f:expr, $low:expr, $high:expr, $limit:expr, $order:literal, $lead:literal) => {
        sqlx::query_as!(
            EventRow,
            r#"SELECT position AS "position!", event_id, recorded_at, body FROM audit_event
               WHERE position > $1 AND position < $2
                 AND ($3::text IS NULL OR action = $3) AND ($4::text IS NULL OR actor = $4)
                 AND ($5::text IS NULL OR decision = $5) AND ($6::uuid IS NULL OR plan_id = $6)
                 AND ($7::uuid IS NULL OR execution_id = $7)
                 AND ($8::timestamptz IS NULL OR recorded_at >= $8) AND ($9::timestamptz IS NULL OR recorded_at < $9)
                 AND "# + $lead + " ORDER BY position " + $order + " LIMIT $10",
            $low,
            $high,
            $f.action.as_deref(),
            $f.actor.as_deref(),
            $f.decision.map(|decision| decision.as_str()),
            $f.plan_id.map(Uuid::from),
            $f.execution_id.map(Uuid::from),
            $f.from,
            $f.to,
            $limit,
        )
        .fetch_all(&mut **$tx)
        .await?
    };
}

macro_rules! page_in {
    ($tx:expr, $f:expr, $low:expr, $high:expr, $limit:expr, $order:literal) => {
        if $f.execution_id.is_some() {
            page_by!($tx, $f, $low, $high, $limit, $order, "execution_id = $7")
        } else if $f.plan_id.is_some() {
            page_by!($tx, $f, $low, $high, $limit, $order, "plan_id = $6")
        } else if $f.actor.is_some() {
            page_by!($tx, $f, $low, $high, $limit, $order, "actor = $4")
        } else if $f.action.is_some() {
            page_by!($tx, $f, $low, $high, $limit, $order, "action = $3")
        } else if $f
            .decision
            .is_some_and(|decision| decision != crate::audit::Decision::None)
        {
            page_by!(
                $tx,
                $f,
                $low,
                $high,
                $limit,
                $order,
                "decision = $5 AND decision <> 'none'"
            )
        } else {
            page_by!($tx, $f, $low, $high, $limit, $order, "true")
        }
    };
}

/// A page of one tenant's events in the order of their positions.
pub(super) async fn page(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Vec<Recorded>, Error> {
    let (mut low, mut high) = (-1, i64::MAX);
    match (page.order, page.after) {
        (Order::OldestFirst, Some(after)) => low = signed(after)?,
        (Order::NewestFirst, Some(after)) => high = signed(after)?,
        (_, None) => {}
    }
    if filter.from.is_some() || filter.to.is_some() {
        let (first, end) = positions_of(tx, filter.from, filter.to).await?;
        low = low.max(first - 1);
        high = high.min(end);
    }
    let limit = i64::from(page.limit);
    let rows = match page.order {
        Order::NewestFirst => page_in!(tx, filter, low, high, limit, "DESC"),
        Order::OldestFirst => page_in!(tx, filter, low, high, limit, "ASC"),
    };
    recorded(tx, rows).await
}

/// A tenant's events after a position, oldest first.
pub(super) async fn after(tx: &mut Tx, position: Option<u64>, limit: u32) -> Result<Vec<Recorded>, Error> {
    let low = position.map_or(Ok(-1), signed)?;
    let rows = sqlx::query_as!(
        EventRow,
        r#"SELECT position AS "position!", event_id, recorded_at, body FROM audit_event
           WHERE position > $1 ORDER BY position LIMIT $2"#,
        low,
        i64::from(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    recorded(tx, rows).await
}

/// Sequenced leaves about a plan or an execution, oldest first.
pub(super) async fn about(
    tx: &mut Tx,
    plan: PlanId,
    execution: Option<ExecutionId>,
    limit: u32,
) -> Result<Vec<Leaf>, Error> {
    let rows = sqlx::query!(
        r#"SELECT position AS "position!", body AS "body!", salt AS "salt!" FROM (
             SELECT position, body, salt FROM audit_event WHERE plan_id = $1 AND position IS NOT NULL
             UNION
             SELECT position, body, salt FROM audit_event WHERE execution_id = $2 AND position IS NOT NULL
           ) AS leaf ORDER BY position LIMIT $3"#,
        plan.uuid(),
        execution.map(Uuid::from),
        i64::from(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Leaf {
                position: unsigned(row.position, "audit_event.position")?,
                salt: bytes(&row.salt, "audit_event.salt")?,
                body: row.body,
            })
        })
        .collect()
}

/// Positions `first..end` that hold every event recorded from `from` on and before `to`, and few others.
///
/// A leaf below the size of a checkpoint was recorded before that checkpoint was signed. The sequencer takes committed rows in
/// the order in which they were recorded: whatever was recorded ten minutes before a leaf, by a transaction shorter than that
/// (the store ends longer ones), stands before it.
async fn positions_of(
    tx: &mut Tx,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<(i64, i64), Error> {
    let row = sqlx::query!(
        r#"SELECT
             coalesce((SELECT size FROM checkpoint WHERE signed_at < $1 ORDER BY signed_at DESC LIMIT 1), 0) AS "first!",
             coalesce((SELECT size FROM checkpoint WHERE newest_recorded_at > $2::timestamptz + interval '10 minutes'
                       ORDER BY newest_recorded_at LIMIT 1), 9223372036854775807) AS "end!""#,
        from,
        to,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.first, row.end))
}

/// The rows with their bodies. One that does not read is shown by its columns: it must not hide the others.
async fn recorded(tx: &mut Tx, rows: Vec<EventRow>) -> Result<Vec<Recorded>, Error> {
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let body = match serde_json::from_slice(&row.body) {
            Ok(body) => body,
            Err(error) => stub(tx, &row, &error).await?,
        };
        out.push(Recorded {
            position: unsigned(row.position, "audit_event.position")?,
            recorded_at: row.recorded_at,
            body,
        });
    }
    Ok(out)
}

/// What the columns say, which nobody vouches for: version 0, and the reason among the details.
async fn stub(tx: &mut Tx, row: &EventRow, error: &serde_json::Error) -> Result<Body, Error> {
    let columns = sqlx::query!(
        "SELECT tenant_id, action, actor, decision, subject, plan_id, execution_id FROM audit_event
         WHERE recorded_at = $1 AND event_id = $2",
        row.recorded_at,
        row.event_id,
    )
    .fetch_one(&mut **tx)
    .await?;
    let tenant = columns.tenant_id.parse();
    let decisions = [
        Decision::None,
        Decision::Allow,
        Decision::Deny,
        Decision::RequireApproval,
    ];
    Ok(Body {
        v: 0,
        event_id: row.event_id.into(),
        tenant_id: tenant.map_err(|_| Error::Corrupt("audit_event.tenant_id".to_owned()))?,
        at: row
            .recorded_at
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        actor: Actor {
            kind: ActorKind::Service,
            name: columns.actor,
            role: Role::Viewer,
            person_id: None,
            identity_id: None,
            token_id: None,
        },
        request_id: String::new(),
        action: columns.action,
        decision: decisions
            .into_iter()
            .find(|decision| decision.as_str() == columns.decision)
            .unwrap_or(Decision::None),
        subject: columns.subject,
        plan_id: columns.plan_id.map(PlanId::from),
        execution_id: columns.execution_id.map(ExecutionId::from),
        details: json!({"unreadable": error.to_string()}),
    })
}
