//! Rows of `idempotency_key`.

use crate::{
    domain::{Digest, OpCtx, TokenId},
    store::{Error, Tx},
};

/// A key that was used.
pub(super) struct Used {
    pub(super) body_digest: Vec<u8>,
    pub(super) status: i16,
    pub(super) response: Vec<u8>,
}

/// Waits for others that hold the same key, then looks it up.
pub(super) async fn lock(
    tx: &mut Tx,
    ctx: &OpCtx,
    token_id: TokenId,
    route: &str,
    key: &str,
) -> Result<Option<Used>, Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended(format('carapulse idempotency %s %s %s', $1::text, $2::text, $3::text), 0))",
        token_id.to_string(),
        route,
        key
    )
    .fetch_one(&mut **tx)
    .await?;
    let used = sqlx::query_as!(
        Used,
        "SELECT body_digest, status, response FROM idempotency_key
         WHERE tenant_id = $1 AND token_id = $2 AND route = $3 AND key = $4",
        ctx.tenant.as_str(),
        token_id.uuid(),
        route,
        key
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(used)
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub(super) async fn insert(
    tx: &mut Tx,
    ctx: &OpCtx,
    token_id: TokenId,
    route: &str,
    key: &str,
    body: &Digest,
    status: u16,
    response: &[u8],
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO idempotency_key (tenant_id, key, route, token_id, body_digest, status, response, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, db_now())",
        ctx.tenant.as_str(),
        key,
        route,
        token_id.uuid(),
        body.as_bytes(),
        i16::try_from(status).unwrap_or(200),
        response
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
