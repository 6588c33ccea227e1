//! SQL that records: one insert into `audit_event`. What reads it, orders it and verifies it has its own.

use uuid::Uuid;

use super::{Body, leaf::SALT_BYTES, merkle::Hash};
use crate::store::{Error, Tx};

/// One statement, no lock, no position.
pub(super) async fn insert_event(
    tx: &mut Tx,
    body: &Body,
    canonical: &[u8],
    salt: &[u8; SALT_BYTES],
    leaf_hash: &Hash,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO audit_event
           (event_id, tenant_id, action, actor, decision, subject, plan_id, execution_id, body, salt, leaf_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        body.event_id.uuid(),
        body.tenant_id.as_str(),
        body.action,
        body.actor.name,
        body.decision.as_str(),
        body.subject,
        body.plan_id.map(Uuid::from),
        body.execution_id.map(Uuid::from),
        canonical,
        salt.as_slice(),
        leaf_hash.as_slice(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Positions, sizes and indexes are `bigint` in the database and never negative.
pub(super) fn unsigned(value: i64, column: &'static str) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Corrupt(column.to_owned()))
}

/// See [`unsigned`].
pub(super) fn signed(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::Corrupt(format!("{value} is beyond any log")))
}

/// A column whose length the schema checks.
pub(super) fn bytes<const N: usize>(value: &[u8], column: &'static str) -> Result<[u8; N], Error> {
    value.try_into().map_err(|_| Error::Corrupt(column.to_owned()))
}
