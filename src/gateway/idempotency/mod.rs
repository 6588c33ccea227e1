//! `Idempotency-Key`: the same request twice has one effect and one answer.
//!
//! The key's row commits with the change. The same key with another body is refused; keys belong to one token and one route.

mod store;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Value;

use super::problem::{Kind, Problem};
use crate::{
    domain::{Digest, OpCtx},
    store::Tx,
};

/// The header of the request, if it has one.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(given) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let text = given.to_str().unwrap_or_default();
        let sound = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let refused = || {
            Problem::new(
                Kind::InvalidRequest,
                "`Idempotency-Key` has 1 to 200 visible ASCII characters",
            )
        };
        sound.then(|| Self(Some(text.to_owned()))).ok_or_else(refused)
    }
}

/// A key that is held until the end of the transaction.
#[derive(Debug)]
pub struct Claim {
    key: Option<String>,
    route: &'static str,
    body: Digest,
}

/// What a key leads to.
#[derive(Debug)]
pub enum Claimed {
    /// Do it, then [`Claim::settle`].
    Fresh(Claim),
    /// It was done: this is the answer that was given.
    Replay(Response),
}

/// Takes the key for this transaction; a second request with the same key waits here until the first has ended.
pub async fn claim(
    tx: &mut Tx,
    ctx: &OpCtx,
    key: IdempotencyKey,
    route: &'static str,
    subject: &str,
    body: &[u8],
) -> Result<Claimed, Problem> {
    let mut covered = subject.as_bytes().to_vec();
    covered.push(0);
    covered.extend_from_slice(body);
    let claim = Claim {
        key: key.0,
        route,
        body: Digest::of_content(&covered),
    };
    let (Some(key), Some(token_id)) = (&claim.key, ctx.actor.token_id) else {
        return Ok(Claimed::Fresh(claim));
    };
    let Some(row) = store::lock(tx, ctx, token_id, route, key).await? else {
        return Ok(Claimed::Fresh(claim));
    };
    if row.body_digest != claim.body.as_bytes() {
        return Err(Problem::new(
            Kind::IdempotencyMismatch,
            Kind::IdempotencyMismatch.example(),
        ));
    }
    let status = u16::try_from(row.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok());
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::HeaderName::from_static("idempotent-replayed"), "true"),
    ];
    Ok(Claimed::Replay(
        (
            status.unwrap_or(StatusCode::OK),
            headers,
            Bytes::from(row.response),
        )
            .into_response(),
    ))
}

impl Claim {
    /// Keeps the answer with the change, in the change's transaction.
    pub async fn settle(
        self,
        tx: &mut Tx,
        ctx: &OpCtx,
        status: StatusCode,
        answer: &Value,
    ) -> Result<(), Problem> {
        if let (Some(key), Some(token_id)) = (&self.key, ctx.actor.token_id) {
            let answer = answer.to_string();
            store::insert(
                tx,
                ctx,
                token_id,
                self.route,
                key,
                &self.body,
                status.as_u16(),
                answer.as_bytes(),
            )
            .await?;
        }
        Ok(())
    }
}
