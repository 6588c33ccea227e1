//! `/v1/tools`: what tools can do, so that whoever writes typed steps knows their names and arguments.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, page::Id, problem::Problem},
    tools::server::listing,
};

/// `GET /v1/tools`: every tool with its actions, by name; they are few, and come in one page.
pub(in crate::gateway) async fn list(State(gateway): State<Gateway>) -> Response {
    let tools = tools(&gateway);
    let limit = tools.len();
    Json(json!({"data": tools, "pagination": {"limit": limit}})).into_response()
}

/// `GET /v1/tools/{name}`.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Id(name): Id<String>,
) -> Result<Response, Problem> {
    let found = tools(&gateway).into_iter().find(|tool| tool["tool"] == *name);
    let tool = found.ok_or_else(|| Problem::not_found("tool", &name))?;
    Ok(Json(json!({"tool": tool})).into_response())
}

fn tools(gateway: &Gateway) -> Vec<Value> {
    match listing(&gateway.catalog)["tools"].take() {
        Value::Array(tools) => tools,
        _ => Vec::new(),
    }
}
