//! The HTTP face of the role `tool-router`.
//!
//! `POST /v1/tools:execute` takes an act by name (`ActRef`), or a read with its arguments; `POST /v1/tools:probe` an act;
//! `POST /v1/tools:look` a running execution whose assertions are to be looked at;
//! `GET /v1/tools` lists the catalogue. Every path wants the shared service token; no header or body names an actor.

use std::sync::Arc;

use axum::{
    Json, Router as Routes,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::{
    ClientError, ReadError, Router,
    catalog::{Catalog, Class},
    client::ReadRequest,
};
use crate::domain::{
    OpCtx, Rotating,
    run::{ActRef, LookRef},
    unique::{DUPLICATE, Unique},
};

/// Largest body.
const BODY_BYTES: usize = 256 * 1024;

/// The routes, behind `token`; while it is being rotated, behind the one before it, too.
pub fn routes(router: Arc<Router>, token: impl Into<Rotating<SecretString>>) -> Routes {
    Routes::new()
        .route("/v1/tools:execute", post(execute))
        .route("/v1/tools:probe", post(probe))
        .route("/v1/tools:look", post(look))
        .route("/v1/tools", get(list))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "not_found", "there is no such path") })
        .method_not_allowed_fallback(|| async {
            problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path takes another method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(token.into(), authenticate))
        .with_state(router)
}

/// Digests are compared, so that neither length nor content of the token shows in the time it takes.
async fn authenticate(State(token): State<Rotating<SecretString>>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let shown = shown
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let shown = digest(shown);
    let is_shown = |expected: &Arc<SecretString>| {
        let expected = expected.expose_secret();
        bool::from(shown.ct_eq(&digest(expected))) && !expected.is_empty()
    };
    if !token.accepted().iter().any(is_shown) {
        return problem(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "the service token is missing or wrong",
        );
    }
    next.run(request).await
}

async fn execute(
    State(router): State<Arc<Router>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let value = match parse(body) {
        Ok(value) => value,
        Err(response) => return *response,
    };
    if value.get("execution_id").is_some() {
        return match read_as::<ActRef>(value) {
            Ok(act) => router
                .act(&act)
                .await
                .map_or_else(refused, |report| Json(report).into_response()),
            Err(response) => *response,
        };
    }
    match read_as::<ReadRequest>(value) {
        Ok(request) => read(&router, request).await,
        Err(response) => *response,
    }
}

async fn read(router: &Router, request: ReadRequest) -> Response {
    let ctx = OpCtx::system("router", request.tenant_id);
    let ReadRequest {
        target_id,
        tool,
        action,
        args,
        capture,
        ..
    } = request;
    if capture {
        let answer = router.capture(&ctx, target_id, &tool, &action, &args).await;
        return answer.map_or_else(unread, |answer| Json(answer).into_response());
    }
    let answer = router.read(&ctx, target_id, &tool, &action, &args).await;
    answer.map_or_else(unread, |answer| Json(answer).into_response())
}

async fn probe(
    State(router): State<Arc<Router>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    match parse(body).and_then(read_as::<ActRef>) {
        Ok(act) => router
            .probe(&act)
            .await
            .map_or_else(refused, |report| Json(report).into_response()),
        Err(response) => *response,
    }
}

async fn look(
    State(router): State<Arc<Router>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    match parse(body).and_then(read_as::<LookRef>) {
        Ok(named) => router
            .look(&named)
            .await
            .map_or_else(refused, |look| Json(look).into_response()),
        Err(response) => *response,
    }
}

async fn list(State(router): State<Arc<Router>>) -> Response {
    Json(listing(router.catalog())).into_response()
}

/// The catalogue as JSON: tools with their actions, schemas, class, risk, effect and digest.
#[must_use]
pub fn listing(catalog: &Catalog) -> Value {
    let tools = catalog.tools().map(|(name, summary)| {
        let actions = catalog
            .iter()
            .filter(|def| def.tool == name && !def.internal)
            .map(|def| {
                json!({
                    "action": def.action,
                    "summary": def.summary,
                    "class": def.class,
                    "risk": def.risk,
                    "effect": def.effect,
                    "guard": def.guard,
                    "reversible": def.class == Class::Write
                        && !matches!(def.inverse, super::catalog::InverseSpec::Irreversible { .. }),
                    "evidence_kind": def.evidence_kind,
                    "timeout_secs": def.timeout_secs,
                    "captures": def.captures,
                    "arguments": def.json_schema(),
                    "digest": def.digest,
                })
            });
        json!({ "tool": name, "summary": summary, "actions": actions.collect::<Vec<_>>() })
    });
    json!({ "tools": tools.collect::<Vec<_>>() })
}

/// One JSON value in which no key stands twice: what is checked is what is done.
fn parse(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> Result<Value, Box<Response>> {
    let body = body.map_err(|rejection| {
        let status = rejection.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE {
            "body_too_large"
        } else {
            "invalid_request"
        };
        Box::new(problem(status, code, &rejection.body_text()))
    })?;
    let read = serde_json::from_slice::<Unique>(&body);
    read.map(|unique| unique.0).map_err(|error| {
        let message = error.to_string();
        let (status, code) = if message.starts_with(DUPLICATE) {
            (StatusCode::UNPROCESSABLE_ENTITY, "duplicate_key")
        } else {
            (StatusCode::BAD_REQUEST, "malformed_json")
        };
        Box::new(problem(status, code, &message))
    })
}

fn read_as<T: DeserializeOwned>(value: Value) -> Result<T, Box<Response>> {
    serde_json::from_value(value).map_err(|e| {
        Box::new(problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            &e.to_string(),
        ))
    })
}

fn refused(error: ClientError) -> Response {
    let (status, code) = match &error {
        ClientError::StillRunning => (StatusCode::CONFLICT, "still_running"),
        ClientError::Rejected(_) => (StatusCode::UNPROCESSABLE_ENTITY, "rejected"),
        ClientError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    problem(status, code, &error.to_string())
}

fn unread(error: ReadError) -> Response {
    let (status, code) = match &error {
        ReadError::UnknownAction(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_action"),
        ReadError::NotARead => (StatusCode::UNPROCESSABLE_ENTITY, "not_a_read"),
        ReadError::Arguments(_) => (StatusCode::UNPROCESSABLE_ENTITY, "arguments"),
        ReadError::UnknownTarget => (StatusCode::NOT_FOUND, "unknown_target"),
        ReadError::Failed { code, message } => return problem(StatusCode::BAD_GATEWAY, code, message),
        ReadError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    problem(status, code, &error.to_string())
}

/// RFC 9457. The role's own short list; the public API's is the gateway's.
fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": format!("urn:carapulse:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Problem"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}
