//! The HTTP listener of a role: what every role answers, and the role's own routes.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{
    Json, Router,
    http::{StatusCode, header},
    routing::get,
};
use serde_json::json;

use super::{Health, OnFailure, Parts};
use crate::config::ListenAddr;

/// A role that listens.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// Where, with the port that it really has.
    pub address: SocketAddr,
}

/// Listens on `address`, answers `/healthz`, `/readyz` and `/metrics`, and `routes` beside them, until the process
/// stops; requests that run then are finished. No route may be one of the three.
///
/// # Errors
/// When the address cannot be had.
pub async fn listen(
    parts: &Parts,
    name: &'static str,
    address: ListenAddr,
    health: Health,
    routes: Router,
) -> anyhow::Result<Listening> {
    let app = observed(health).merge(metrics(parts)).merge(routes);
    serve_on(parts, name, address, app).await
}

/// As [`listen`], for a listener that strangers' browsers may reach: without `/metrics`.
///
/// # Errors
/// As [`listen`].
pub(super) async fn listen_for_browsers(
    parts: &Parts,
    name: &'static str,
    address: ListenAddr,
    health: Health,
    routes: Router,
) -> anyhow::Result<Listening> {
    serve_on(parts, name, address, observed(health).merge(routes)).await
}

async fn serve_on(
    parts: &Parts,
    name: &'static str,
    address: ListenAddr,
    app: Router,
) -> anyhow::Result<Listening> {
    let listener = tokio::net::TcpListener::bind(address.socket())
        .await
        .with_context(|| format!("listening on {}", address.socket()))?;
    let listening = Listening {
        address: listener.local_addr()?,
    };
    // A listener cannot be had twice: this task runs once, and its failure is the process'.
    let once = std::sync::Mutex::new(Some((listener, app)));
    parts.lifecycle.spawn(name, OnFailure::StopProcess, move |stop| {
        let taken = once
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        async move {
            let (listener, app) = taken.context("the listener is gone")?;
            axum::serve(listener, app)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await?;
            Ok::<_, anyhow::Error>(())
        }
    });
    Ok(listening)
}

/// `/healthz`: the process lives. `/readyz`: it can work, each check named.
fn observed(health: Health) -> Router {
    let ready = move || {
        let health = health.clone();
        async move {
            let report = health.report().await;
            let status = if report.is_ready() {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, Json(report))
        }
    };
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
}

/// `/metrics`: of the whole process.
fn metrics(parts: &Parts) -> Router {
    let telemetry = parts.telemetry.clone();
    let metrics = move || async move {
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            telemetry.render(),
        )
    };
    Router::new().route("/metrics", get(metrics))
}
