//! `GET /v1/notifications`: the messages to people, and whether they were delivered.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::store;
use crate::{
    domain::NotificationId,
    gateway::{
        Gateway,
        access::Caller,
        opened::Opened,
        page::{PageOf, Params},
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

/// Newest first, by delivery state when asked.
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
        "notifications",
        filters,
        (query.limit, query.cursor.as_deref(), None),
    )?;
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let before = page.after::<NotificationId>()?;
    let rows = store::list_notifications(&mut tx, query.status.as_deref(), before, page.limit + 1).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.notification_id.to_string()))
}
