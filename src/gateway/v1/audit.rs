//! `/v1/audit`: pages of the log, its latest signed head, and proofs.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::{
    audit::{self, Decision, Filter, Order, Page},
    domain::{ExecutionId, PlanId},
    gateway::{
        Gateway,
        access::Caller,
        opened::Opened,
        page::{PageOf, Params},
        problem::{Kind, Problem},
    },
};

/// Filters and page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    action: Option<String>,
    actor_id: Option<String>,
    decision: Option<Decision>,
    plan_id: Option<PlanId>,
    execution_id: Option<ExecutionId>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Which leaf is to be proved, and in which tree.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct ProofQuery {
    position: u64,
    size: Option<u64>,
}

/// `GET /v1/audit/events`: newest first; events appear once they have a position.
pub(in crate::gateway) async fn events(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let filter = Filter {
        action: query.action,
        actor: query.actor_id,
        decision: query.decision,
        plan_id: query.plan_id,
        execution_id: query.execution_id,
        from: query.from,
        to: query.to,
    };
    let page = PageOf::new(
        &gateway,
        &ctx,
        "audit",
        format!("{filter:?}"),
        (query.limit, query.cursor.as_deref(), None),
    )?;
    let limit = u32::try_from(page.limit + 1).unwrap_or(201);
    let slice = Page {
        order: Order::NewestFirst,
        after: page.after()?,
        limit,
    };
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let rows = audit::list(&mut tx, &filter, &slice).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.position.to_string()))
}

/// `GET /v1/audit/checkpoint`: the latest signed head of the log.
pub(in crate::gateway) async fn checkpoint(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let checkpoint = audit::latest_checkpoint(&mut tx).await?;
    tx.finish_read();
    let none = || {
        Problem::new(
            Kind::NotFound,
            "no checkpoint yet: the sequencer signs the first within a second of the first event",
        )
    };
    Ok(Json(checkpoint.ok_or_else(none)?).into_response())
}

/// `GET /v1/audit/proof?position=N[&size=M]`: the inclusion proof of a leaf in the tree of `size` leaves.
pub(in crate::gateway) async fn proof(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<ProofQuery>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let log_size = audit::log_size(&mut tx).await?;
    tx.finish_read();
    let size = query.size.unwrap_or(log_size);
    if size > log_size || query.position >= size {
        let detail = format!(
            "the log has {log_size} events; `position` must be below `size`, and `size` no larger than that"
        );
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let proof = audit::inclusion_proof(&gateway.db, query.position, size).await?;
    let hashes: Vec<String> = proof.hashes.iter().map(hex::encode).collect();
    Ok(Json(json!({"position": proof.position, "size": proof.size, "hashes": hashes})).into_response())
}
