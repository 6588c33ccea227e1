//! SQL that records: one insert into `audit_event`. What reads it, orders it and verifies it has its own.

use uuid::Uuid;

use super::{Body, leaf::SALT_BYTES, merkle::Hash};
use crate::store::{Error, Tx};

/// An event, ready to be recorded: the argument of the database's `record_event`, in a statement of the stage that it tells of. That
/// statement fails where the transaction is not on the event's tenant.
#[derive(Debug, Clone, sqlx::Type)]
#[sqlx(type_name = "event_row")]
pub struct EventRow {
    event_id: Uuid,
    action: String,
    actor: String,
    decision: String,
    subject: Option<Uuid>,
    plan_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    body: Vec<u8>,
    salt: Vec<u8>,
    leaf_hash: Vec<u8>,
}

impl EventRow {
    pub(super) fn new(body: &Body, canonical: Vec<u8>, salt: &[u8; SALT_BYTES], leaf_hash: &Hash) -> Self {
        Self {
            event_id: body.event_id.uuid(),
            action: body.action.clone(),
            actor: body.actor.name.clone(),
            decision: body.decision.as_str().to_owned(),
            subject: body.subject,
            plan_id: body.plan_id.map(Uuid::from),
            execution_id: body.execution_id.map(Uuid::from),
            body: canonical,
            salt: salt.to_vec(),
            leaf_hash: leaf_hash.to_vec(),
        }
    }
}

/// One statement, no lock, no position.
pub(super) async fn insert_event(tx: &mut Tx, row: EventRow) -> Result<(), Error> {
    sqlx::query!(r#"SELECT record_event($1) AS "recorded: ()""#, row as _)
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
