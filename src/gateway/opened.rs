//! The transaction in which a request was authenticated, handed on to what the handler reads.
//!
//! In: the guard's transaction, on the tenant of the token. Out: the same to the handler, which so saves opening and ending one.
//! Always holds: it has only read; no connection is held for a client that is slow to send its body: what has not come after
//! [`PATIENCE`] is waited for without. Not here: transactions that change something end with a commit, and what a handler reads from elsewhere
//! in between runs outside of any.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    http::{Method, request::Parts},
};
use futures::{FutureExt as _, StreamExt as _, stream};

use super::Gateway;
use crate::{
    domain::OpCtx,
    store::{Error, Tx},
};

/// For the body of a request whose head has come: a small one is there at once.
const PATIENCE: Duration = Duration::from_millis(20);

/// The transaction of the guard, for the one who takes it.
#[derive(Debug, Clone, Default)]
pub struct Opened(Arc<Mutex<Option<Tx>>>);

impl Opened {
    /// The transaction that the guard opened, or a new one where it was let go.
    pub async fn tx(self, gateway: &Gateway, ctx: &OpCtx) -> Result<Tx, Error> {
        match self.take() {
            Some(tx) => Ok(tx),
            None => gateway.db.begin(&ctx.tenant).await,
        }
    }

    fn take(&self) -> Option<Tx> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Puts `tx` into the request.
pub(super) fn hand_on(request: Request, tx: Tx) -> Request {
    let opened = Opened(Arc::new(Mutex::new(Some(tx))));
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(opened.clone());
    if parts.method == Method::GET {
        // Nobody reads a body here.
        return Request::from_parts(parts, body);
    }
    let mut body = body.into_data_stream();
    let mut patience = Box::pin(tokio::time::sleep(PATIENCE));
    let hasty = stream::poll_fn(move |cx| {
        let polled = body.poll_next_unpin(cx);
        if polled.is_pending() && patience.poll_unpin(cx).is_ready() {
            drop(opened.take());
        }
        polled
    });
    Request::from_parts(parts, Body::from_stream(hasty))
}

impl<S: Send + Sync> FromRequestParts<S> for Opened {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove().unwrap_or_default())
    }
}
