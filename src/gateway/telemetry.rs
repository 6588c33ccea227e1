//! What every request gets, whatever becomes of it: an id, a log line, two metrics, and an answer even to a panic.

use std::{any::Any, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::{Instrument, field};

use super::{
    Gateway,
    problem::{Kind, Problem, REQUEST_ID},
    router::VERB,
};

/// Ties the lines, events and answers of one request together; taken from the client when it is sound.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// How long a handler may take until its first byte. Streams are not limited by it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The outermost layer.
pub(super) async fn observe(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let request_id = request_id(&gateway, &request);
    let method = request.method().clone();
    let span = tracing::info_span!("request", %request_id, %method, route = field::Empty, status = field::Empty,
        duration_ms = field::Empty, actor = field::Empty, tenant = field::Empty);
    let started = tokio::time::Instant::now();
    let answer = async {
        match tokio::time::timeout(TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(Kind::Timeout, Kind::Timeout.example()).into_response(),
        }
    };
    let mut response = REQUEST_ID
        .scope(request_id.clone(), answer)
        .instrument(span.clone())
        .await;
    let elapsed = started.elapsed();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let route = response
        .extensions()
        .get::<Template>()
        .map_or("unmatched", |template| template.0);
    let status = response.status().as_u16();
    span.record("route", route).record("status", status).record(
        "duration_ms",
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    );
    span.in_scope(|| tracing::info!("answered"));
    let labels = [("method", method.to_string()), ("path", route.to_owned())];
    metrics::histogram!("carapulse_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    metrics::counter!("carapulse_http_requests_total", "method" => method.to_string(), "path" => route, "status" => status.to_string())
        .increment(1);
    response
}

/// The route's template, for metrics and logs: never a path with ids in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template(pub(super) &'static str);

/// Marks an answer with the template of its route.
pub(super) async fn mark(State(template): State<&'static str>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Template(template));
    response
}

/// `POST /v1/plans/{id}:execute` is routed as `/v1/plans/{id}/do:execute`: the router knows no suffixes.
pub(super) fn split_verb<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let uri = request.uri();
    let Some((head, verb)) = uri.path().rsplit_once(':') else {
        return request;
    };
    let plain = !head.is_empty()
        && !head.ends_with('/')
        && !verb.is_empty()
        && verb.bytes().all(|b| b.is_ascii_lowercase());
    if !plain || head.ends_with(VERB.trim_end_matches(':')) {
        return request;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path) = format!("{head}/{VERB}{verb}{query}").parse() {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path);
        if let Ok(uri) = axum::http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// The answer to a panic. The panic's message goes to the log only.
pub(super) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    metrics::counter!("carapulse_http_panics_total").increment(1);
    Problem::internal(&format!("panic: {text}")).into_response()
}

fn request_id(gateway: &Gateway, request: &Request) -> String {
    let sound = |text: &&str| {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = request
        .headers()
        .get(REQUEST_ID_HEADER)
        .and_then(|value| value.to_str().ok());
    match given.filter(sound) {
        Some(given) => given.to_owned(),
        None => format!("req_{}", gateway.fresh_id().simple()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_becomes_a_segment_and_nothing_else_changes() {
        let split = |uri: &str| {
            let request = axum::http::Request::builder()
                .uri(uri)
                .body(())
                .expect("a request");
            split_verb(request).uri().to_string()
        };
        assert_eq!(split("/v1/plans/plan_1:execute"), "/v1/plans/plan_1/do:execute");
        assert_eq!(
            split("/v1/plans/plan_1:execute?x=1"),
            "/v1/plans/plan_1/do:execute?x=1"
        );
        for same in [
            "/v1/plans/plan_1",
            "/v1/plans/:execute",
            "/v1/plans/x:Exec",
            "/v1/plans/x:",
            "/v1/plans/x/do:execute",
            "/",
        ] {
            assert_eq!(split(same), same);
        }
    }
}
