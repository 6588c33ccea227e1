//! `/v1/executions`: how far they have come, and what people may ask of them.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::store;
use crate::{
    domain::{ExecutionId, PlanId, Prose, run::Resolution},
    execution,
    gateway::{
        Gateway,
        access::Caller,
        opened::Opened,
        page::{Id, PageOf, Params},
        problem::{Kind, Problem},
        strict::{self, Strict},
    },
};

/// Filters and page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    status: Option<String>,
    plan_id: Option<PlanId>,
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
}

/// How an unknown step is settled.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Resolve {
    step: u32,
    r#as: Resolution,
    #[serde(default)]
    note: Option<Prose>,
}

/// Why an execution is to be undone.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    #[serde(default)]
    note: Option<Prose>,
}

/// `GET /v1/executions`: newest first.
pub(in crate::gateway) async fn list(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let filters = format!("{:?} {:?}", query.status, query.plan_id);
    let page = PageOf::new(
        &gateway,
        &ctx,
        "executions",
        filters,
        (query.limit, query.cursor.as_deref(), query.offset),
    )?;
    let status = query.status.as_deref();
    let mut tx = opened.tx(&gateway, &ctx).await?;
    if let Some(offset) = page.offset {
        let counted = store::count_executions(&mut tx, status, query.plan_id).await?;
        let rows = match store::nth_execution(&mut tx, status, query.plan_id, offset).await? {
            Some(from) => execution::list(&mut tx, status, query.plan_id, from.before(), page.limit).await?,
            None => Vec::new(),
        };
        tx.finish_read();
        return Ok(page.offset_answer(&rows, counted));
    }
    // One more than are shown: whether there is a next page.
    let rows = execution::list(&mut tx, status, query.plan_id, page.after()?, page.limit + 1).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.execution_id.to_string()))
}

/// `GET /v1/executions/{id}`.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<ExecutionId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let found = execution::find(&mut tx, id).await?;
    tx.finish_read();
    found
        .map(|row| Json(row).into_response())
        .ok_or_else(|| Problem::not_found("execution", id))
}

/// `GET /v1/executions/{id}/steps`.
pub(in crate::gateway) async fn steps(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<ExecutionId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let rows = execution::steps(&mut tx, id).await?;
    tx.finish_read();
    Ok(Json(json!({"data": rows})).into_response())
}

/// `POST /v1/executions/{id}/cancel`: 202, because the engine decides at its next turn.
pub(in crate::gateway) async fn cancel(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
) -> Result<Response, Problem> {
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    execution::cancel(&mut tx, &ctx, id).await?;
    tx.commit().await?;
    Ok(accepted(id, "cancel"))
}

/// `POST /v1/executions/{id}/resolve`: `{"step", "as": "done" | "not_done" | "abandon", "note"?}`.
pub(in crate::gateway) async fn resolve(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
    body: Strict<Resolve>,
) -> Result<Response, Problem> {
    let Resolve { step, r#as, note } = body.value;
    let note = checked_note(note)?;
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    execution::resolve(&mut tx, &ctx, id, step, r#as, note.as_ref().map(Prose::as_str)).await?;
    tx.commit().await?;
    Ok(accepted(id, "resolve"))
}

/// `POST /v1/executions/{id}/rollback`: `{"note"?}`.
pub(in crate::gateway) async fn rollback(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
    raw: Bytes,
) -> Result<Response, Problem> {
    let body: Rollback = if raw.is_empty() {
        Rollback::default()
    } else {
        strict::parse(&raw)?
    };
    let note = checked_note(body.note)?;
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    execution::rollback(&mut tx, &ctx, id, note.as_ref().map(Prose::as_str)).await?;
    tx.commit().await?;
    Ok(accepted(id, "rollback"))
}

/// `GET /v1/executions/{id}/evidence`: one tar that `carapulse audit verify` checks with no server.
pub(in crate::gateway) async fn evidence(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
) -> Result<Response, Problem> {
    let bundle = execution::export(&gateway.db, &gateway.objects, &ctx, id).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.tar\""),
        ),
    ];
    Ok((headers, bundle).into_response())
}

fn accepted(id: ExecutionId, requested: &str) -> Response {
    (
        StatusCode::ACCEPTED,
        Json(json!({"execution_id": id, "requested": requested})),
    )
        .into_response()
}

fn checked_note(note: Option<Prose>) -> Result<Option<Prose>, Problem> {
    if note.as_ref().is_some_and(|note| note.as_str().len() > 2000) {
        return Err(Problem::new(Kind::InvalidValue, "a note has at most 2000 bytes").at("/note", "too long"));
    }
    Ok(note)
}
