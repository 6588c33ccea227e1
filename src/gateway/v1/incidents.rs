//! `/v1/incidents`: what woke the system, and what was found.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::store;
use crate::{
    domain::IncidentId,
    gateway::{
        Gateway,
        access::Caller,
        opened::Opened,
        page::{Id, PageOf, Params},
        problem::Problem,
    },
};

/// Filters and page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    status: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /v1/incidents?status=open|resolved`: newest first.
pub(in crate::gateway) async fn list(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let filters = format!("status={:?}", query.status);
    let page = PageOf::new(
        &gateway,
        &ctx,
        "incidents",
        filters,
        (query.limit, query.cursor.as_deref(), None),
    )?;
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let before = page.after::<IncidentId>()?;
    let rows = store::list_incidents(&mut tx, query.status.as_deref(), before, page.limit + 1).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.incident_id.to_string()))
}

/// `GET /v1/incidents/{id}`: with its signals and the latest diagnosis.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<IncidentId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let incident = store::find_incident(&mut tx, id)
        .await?
        .ok_or_else(|| Problem::not_found("incident", id))?;
    let signals = store::list_signals(&mut tx, id).await?;
    let diagnoses = store::list_diagnoses(&mut tx, id).await?;
    let plans = store::list_incident_plans(&mut tx, id).await?;
    tx.finish_read();
    let mut body = serde_json::to_value(&incident).map_err(|error| Problem::internal(&error))?;
    body["signals"] = signals.into();
    body["diagnoses"] = diagnoses.into();
    body["plans"] = plans.into_iter().map(|id| id.to_string()).collect();
    Ok(Json(body).into_response())
}
