//! `/v1/targets`: the registry of places.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::gateway::{
    Gateway,
    access::Caller,
    opened::Opened,
    page::Id,
    problem::Problem,
    strict::Strict,
    target::{self, TargetSpec},
};

/// `GET /v1/targets`: all targets by name, and the changes that wait for a second person.
pub(in crate::gateway) async fn list(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let (targets, pending) = target::list(&mut tx).await?;
    tx.finish_read();
    Ok(Json(json!({"data": targets, "pending": pending, "pagination": {"limit": 1000}})).into_response())
}

/// `GET /v1/targets/{name}`.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(name): Id<String>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let found = target::find(&mut tx, &name).await?;
    let pending = target::find_pending(&mut tx, &name).await?;
    tx.finish_read();
    match (found, pending) {
        (None, None) => Err(Problem::not_found("target", name)),
        (Some(target), None) => Ok(Json(json!({"target": target})).into_response()),
        (None, Some(pending)) => Ok(Json(json!({"pending": pending})).into_response()),
        (Some(target), Some(pending)) => {
            Ok(Json(json!({"target": target, "pending": pending})).into_response())
        }
    }
}

/// `POST /v1/targets`: proposes a new target or a change.
pub(in crate::gateway) async fn propose(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    body: Strict<TargetSpec>,
) -> Result<Response, Problem> {
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let change = target::propose(&mut tx, &ctx, body.value, &gateway.engine).await?;
    tx.commit().await?;
    let location = [(header::LOCATION, format!("/v1/targets/{}", change.name))];
    Ok((StatusCode::CREATED, location, Json(json!({"pending": change}))).into_response())
}

/// `{"change_id": id}`: the change that was read, and no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Confirm {
    change_id: Uuid,
}

/// `POST /v1/targets/{name}:confirm`: by another admin.
pub(in crate::gateway) async fn confirm(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(name): Id<String>,
    body: Strict<Confirm>,
) -> Result<Response, Problem> {
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let target = target::confirm(&mut tx, &ctx, &name, body.value.change_id).await?;
    tx.commit().await?;
    Ok(Json(json!({"target": target})).into_response())
}
