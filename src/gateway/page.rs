//! Pages of lists: keyset by signed cursor, or the offset form of old clients.
//!
//! `{"data": […], "pagination": {"limit", "next_cursor"?, "offset"?, "total"?, "total_is_exact"?}}`. A page without
//! `next_cursor` is the last. Cursor pages carry no total; offset pages count up to 10 000 and end there.

use axum::{
    Json,
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use std::str::FromStr;

use super::{
    Gateway,
    problem::{Kind, Problem},
};
use crate::domain::OpCtx;

/// Beyond this nothing is counted, and offset pages end.
pub const MAX_OFFSET: i64 = 10_000;

/// The query parameters, of type `T`; unknown ones are refused.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::new(
                Kind::InvalidRequest,
                "the query holds the character U+0000",
            ));
        }
        let query = Query::<T>::from_request_parts(parts, state).await;
        let refused = |error: axum::extract::rejection::QueryRejection| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(Kind::InvalidRequest, format!("the query cannot be read: {cause}"))
        };
        query.map(|Query(value)| Self(value)).map_err(refused)
    }
}

/// An id in the path; a text that is no such id is an id that does not exist.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| Problem::new(Kind::NotFound, "no such path"))?;
        if text.contains('\0') {
            return Err(Problem::new(Kind::NotFound, "an id holds no U+0000"));
        }
        let shown: String = text.chars().take(80).collect();
        text.parse()
            .map(Self)
            .map_err(|_| Problem::new(Kind::NotFound, format!("`{shown}` is no such id")))
    }
}

/// Which page of which list.
#[derive(Debug)]
pub struct PageOf<'a> {
    gateway: &'a Gateway,
    ctx: &'a OpCtx,
    list: &'static str,
    filters: String,
    /// Rows a page, 1–200.
    pub limit: i64,
    /// The key of the last row of the page before, for a cursor page.
    pub after: Option<String>,
    /// Rows to skip, for an offset page.
    pub offset: Option<i64>,
}

impl<'a> PageOf<'a> {
    /// Checks `limit`, `cursor` and `offset` as they were given; `filters` must say all else that shapes the list.
    pub fn new(
        gateway: &'a Gateway,
        ctx: &'a OpCtx,
        list: &'static str,
        filters: String,
        (limit, cursor, offset): (Option<i64>, Option<&str>, Option<i64>),
    ) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            let detail = "query parameter `limit` must be a number from 1 to 200";
            return Err(Problem::new(Kind::InvalidRequest, detail));
        }
        if cursor.is_some() && offset.is_some() {
            return Err(Problem::new(
                Kind::InvalidRequest,
                "give either `cursor` or `offset`, not both",
            ));
        }
        if offset.is_some_and(|offset| offset < 0) {
            return Err(Problem::new(
                Kind::InvalidRequest,
                "query parameter `offset` must not be negative",
            ));
        }
        if offset.is_some_and(|offset| offset > MAX_OFFSET) {
            return Err(Problem::new(Kind::OffsetTooLarge, Kind::OffsetTooLarge.example()));
        }
        let after = cursor
            .map(|cursor| gateway.cursors.open(&ctx.tenant, list, &filters, cursor))
            .transpose()?;
        Ok(Self {
            gateway,
            ctx,
            list,
            filters,
            limit,
            after,
            offset,
        })
    }

    /// The key of the cursor, parsed.
    pub fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let refused = |_| Problem::new(Kind::InvalidCursor, Kind::InvalidCursor.example());
        self.after.as_deref().map(str::parse).transpose().map_err(refused)
    }

    /// The answer for `rows`, of which up to one more than `limit` were read; `key` names the last row shown.
    pub fn cursor_answer<T: Serialize>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Response {
        let limit = usize::try_from(self.limit).unwrap_or(50);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let seal = |last| {
            self.gateway
                .cursors
                .seal(&self.ctx.tenant, self.list, &self.filters, &key(last))
        };
        let pagination = Pagination {
            limit: self.limit,
            next_cursor: rows.last().filter(|_| more).map(seal),
            ..Pagination::default()
        };
        Json(Answer {
            data: &rows,
            pagination,
        })
        .into_response()
    }

    /// The answer for an offset page; `counted` is the number of rows, counted no further than one beyond the largest offset.
    pub fn offset_answer<T: Serialize>(&self, rows: &[T], counted: i64) -> Response {
        let pagination = Pagination {
            limit: self.limit,
            offset: Some(self.offset.unwrap_or_default()),
            total: Some(counted.min(MAX_OFFSET)),
            total_is_exact: Some(counted <= MAX_OFFSET),
            ..Pagination::default()
        };
        Json(Answer {
            data: rows,
            pagination,
        })
        .into_response()
    }
}

/// Written out row by row, without a tree of values in between.
#[derive(Debug, Serialize)]
struct Answer<'a, T> {
    data: &'a [T],
    pagination: Pagination,
}

#[derive(Debug, Default, Serialize)]
struct Pagination {
    limit: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_is_exact: Option<bool>,
}
