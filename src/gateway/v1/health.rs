//! `/healthz`, `/readyz`, `/metrics`: the only paths without a token.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::gateway::Gateway;

/// The process answers.
pub(in crate::gateway) async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The process can do its work: it is not draining, and the database answers within 2 s.
pub(in crate::gateway) async fn readyz(State(gateway): State<Gateway>) -> Response {
    let database = match tokio::time::timeout(Duration::from_secs(2), gateway.db.ping()).await {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) | Err(_) => "unavailable",
    };
    let draining = gateway.stop.is_cancelled();
    if database == "ok" && !draining {
        return Json(json!({"status": "ok"})).into_response();
    }
    let lifecycle = if draining { "draining" } else { "ok" };
    let body = json!({"status": "unavailable", "checks": {"db": database, "lifecycle": lifecycle}});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// Prometheus' text format.
pub(in crate::gateway) async fn metrics(State(gateway): State<Gateway>) -> Response {
    let text = (gateway.metrics)();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
