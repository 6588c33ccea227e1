//! The listener for people's browsers (`gateway.canvas_addr`): health, and the web pages when there are any.
//!
//! A port of its own, so that an ingress can lead browsers here and nowhere else. It has no `/v1`: a page and the API
//! never share an origin by accident.

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Gateway,
    problem::{Kind, Problem},
    telemetry,
};

/// What the listener serves beside health. `api` says where the API is, for whoever came to the wrong door.
pub fn service(gateway: Gateway, api: String) -> Router {
    Router::new()
        .fallback(no_such_page)
        .layer(CatchPanicLayer::custom(telemetry::panicked))
        .layer(from_fn_with_state(gateway, telemetry::observe))
        .with_state(api)
}

async fn no_such_page(State(api): State<String>) -> Response {
    let detail = format!("this listener is for web pages, and this release has none; the API is at {api}");
    Problem::new(Kind::NotFound, detail).into_response()
}
