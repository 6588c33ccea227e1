//! Rows of `tenant`, `person`, `identity` and `token`.

use super::{LiveRow, TokenRow};
use crate::{
    domain::{Digest, IdentityId, OpCtx, PersonId, Role, TenantId, TokenId},
    store::{Error, Tx},
};

/// Columns of a new token.
pub(super) struct NewRow<'a> {
    pub(super) token_id: TokenId,
    pub(super) hash: Digest,
    pub(super) actor: &'a str,
    pub(super) role: Role,
    pub(super) kind: &'a str,
    pub(super) identity_id: Option<IdentityId>,
    pub(super) owner_id: Option<PersonId>,
    pub(super) source: Option<&'a str>,
    pub(super) ttl_secs: Option<i64>,
}

pub(super) async fn find_live(tx: &mut Tx, hash: &Digest) -> Result<Option<LiveRow>, Error> {
    let row = sqlx::query!(
        r#"SELECT t.token_id, t.actor, t.role, t.kind, t.identity_id, i.person_id AS "person_id?", t.owner_person_id, t.source
           FROM token t LEFT JOIN identity i ON i.tenant_id = t.tenant_id AND i.identity_id = t.identity_id
           WHERE t.tenant_id = current_tenant() AND t.secret_hash = $1
             AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > db_now())"#,
        hash.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| LiveRow {
        token_id: row.token_id.into(),
        actor: row.actor,
        role: row.role,
        kind: row.kind,
        identity_id: row.identity_id,
        person_id: row.person_id,
        owner_person_id: row.owner_person_id,
        source: row.source,
    }))
}

pub(super) async fn insert(tx: &mut Tx, ctx: &OpCtx, row: &NewRow<'_>) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO token (token_id, tenant_id, secret_hash, actor, role, kind, identity_id, owner_person_id, source, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, db_now() + make_interval(secs => $10::bigint::double precision))",
        row.token_id.uuid(),
        ctx.tenant.as_str(),
        row.hash.as_bytes(),
        row.actor,
        row.role.as_str(),
        row.kind,
        row.identity_id.map(IdentityId::uuid),
        row.owner_id.map(PersonId::uuid),
        row.source,
        row.ttl_secs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn update_revoked(tx: &mut Tx, ctx: &OpCtx, token_id: TokenId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE token SET revoked_at = db_now() WHERE tenant_id = $1 AND token_id = $2 AND revoked_at IS NULL",
        ctx.tenant.as_str(),
        token_id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn list(tx: &mut Tx) -> Result<Vec<TokenRow>, Error> {
    let rows = sqlx::query!(
        r#"SELECT t.token_id, t.actor, t.role, t.kind, p.name AS "person?", t.source, t.created_at, t.expires_at, t.revoked_at
           FROM token t
           LEFT JOIN identity i ON i.tenant_id = t.tenant_id AND i.identity_id = t.identity_id
           LEFT JOIN person p ON p.tenant_id = t.tenant_id AND p.person_id = coalesce(i.person_id, t.owner_person_id)
           WHERE t.tenant_id = current_tenant() ORDER BY t.token_id DESC LIMIT 500"#
    )
    .fetch_all(&mut **tx)
    .await?;
    let rows = rows.into_iter().map(|row| TokenRow {
        token_id: row.token_id.into(),
        actor: row.actor,
        role: row.role,
        kind: row.kind,
        person: row.person,
        source: row.source,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    });
    Ok(rows.collect())
}

/// The person of that name, however it is written, and whether there was none before.
pub(super) async fn find_or_insert_person(
    tx: &mut Tx,
    ctx: &OpCtx,
    name: &str,
) -> Result<(PersonId, bool), Error> {
    let fresh: PersonId = ctx.id();
    sqlx::query!(
        "INSERT INTO person (person_id, tenant_id, name) VALUES ($1, $2, $3) ON CONFLICT (tenant_id, name_key(name)) DO NOTHING",
        fresh.uuid(),
        ctx.tenant.as_str(),
        name
    )
    .execute(&mut **tx)
    .await?;
    let person_id = sqlx::query_scalar!(
        "SELECT person_id FROM person WHERE tenant_id = $1 AND name_key(name) = name_key($2)",
        ctx.tenant.as_str(),
        name
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((person_id.into(), person_id == fresh.uuid()))
}

/// The login of `actor`, whom it is linked to, and whether there was none before.
pub(super) async fn find_or_insert_identity(
    tx: &mut Tx,
    ctx: &OpCtx,
    actor: &str,
    person_id: PersonId,
) -> Result<(IdentityId, Option<PersonId>, bool), Error> {
    let fresh: IdentityId = ctx.id();
    sqlx::query!(
        "INSERT INTO identity (identity_id, tenant_id, provider, subject, person_id) VALUES ($1, $2, 'token', $3, $4)
         ON CONFLICT (tenant_id, name_key(subject)) WHERE provider = 'token' DO NOTHING",
        fresh.uuid(),
        ctx.tenant.as_str(),
        actor,
        person_id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query!(
        "SELECT identity_id, person_id FROM identity
         WHERE tenant_id = $1 AND provider = 'token' AND name_key(subject) = name_key($2)",
        ctx.tenant.as_str(),
        actor
    )
    .fetch_one(&mut **tx)
    .await?;
    let linked = row.person_id.map(Into::into);
    Ok((row.identity_id.into(), linked, row.identity_id == fresh.uuid()))
}

/// Whether a person logs in by that name, however it is written.
pub(super) async fn is_login(tx: &mut Tx, actor: &str) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM identity
             WHERE tenant_id = current_tenant() AND provider = 'token' AND name_key(subject) = name_key($1)) AS "found!""#,
        actor
    );
    Ok(found.fetch_one(&mut **tx).await?)
}

/// Whether the tenant has a place where something could be done.
pub(super) async fn has_targets(tx: &mut Tx) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM target WHERE tenant_id = current_tenant()) AS "found!""#
    );
    Ok(found.fetch_one(&mut **tx).await?)
}

pub(super) async fn is_live(tx: &mut Tx, token_id: TokenId) -> Result<bool, Error> {
    let live = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM token WHERE tenant_id = current_tenant() AND token_id = $1
             AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > db_now())) AS "live!""#,
        token_id.uuid()
    );
    Ok(live.fetch_one(&mut **tx).await?)
}

pub(super) async fn update_barred(tx: &mut Tx, person_id: PersonId, secs: i64) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE person SET barred_until = greatest(barred_until, db_now() + make_interval(secs => $2::bigint::double precision))
         WHERE tenant_id = current_tenant() AND person_id = $1",
        person_id.uuid(),
        secs
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn ensure_tenant(tx: &mut Tx, tenant: &TenantId) -> Result<(), Error> {
    let known = sqlx::query_scalar!(
        "SELECT tenant_id FROM tenant WHERE tenant_id = $1",
        tenant.as_str()
    );
    if known.fetch_optional(&mut **tx).await?.is_none() {
        sqlx::query!(
            "INSERT INTO tenant (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING",
            tenant.as_str()
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
