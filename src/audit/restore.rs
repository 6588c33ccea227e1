//! Going on after a restore: a restored database does not know what was done since its backup. It is read-only until a person
//! has looked; then a new generation begins, on the record.

use serde_json::{Value, json};

use super::{Decision, Error, Event, record, sequencer::store};
use crate::{
    domain::{OpCtx, TenantId},
    store::{Db, DbRole, tenant},
};

/// Where the installation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many restores were acknowledged, and one.
    pub generation: i64,
    /// Nothing is written until somebody acknowledges.
    pub read_only: bool,
    /// Events that have their place in the log.
    pub log_size: u64,
}

/// Reads it.
///
/// # Errors
/// [`Error::Store`].
pub async fn standing(db: &Db) -> Result<Standing, Error> {
    let mut tx = db.begin_global().await?;
    let installation = store::installation(&mut tx).await?;
    let head = store::head(&mut tx).await?;
    tx.commit().await?;
    Ok(Standing {
        generation: installation.generation,
        read_only: installation.read_only,
        log_size: head.size,
    })
}

/// Makes the installation read-only: what whoever restores does before any role is started on the restored database. `db`
/// is of the owner's role, or of the sequencer's, which does it when it finds a published checkpoint ahead of the log.
///
/// # Errors
/// [`Error::Store`].
pub async fn refuse_writes(db: &Db) -> Result<(), Error> {
    let mut tx = db.begin_global().await?;
    store::set_read_only(&mut tx, true).await?;
    Ok(tx.commit().await?)
}

/// First half of acknowledging: a new generation, which voids every signature, lease and epoch of the old one. The
/// installation stays read-only. `db` is of the owner's role. Answers the new generation.
///
/// # Errors
/// [`Error::Store`]; with another role, because only the owner may change the generation.
pub async fn begin_generation(db: &Db) -> Result<i64, Error> {
    debug_assert_eq!(
        db.role(),
        DbRole::Owner,
        "only the owner may change the generation"
    );
    let mut tx = db.begin_global().await?;
    let generation = store::raise_generation(&mut tx).await?;
    tx.commit().await?;
    tracing::warn!(generation, "a new generation has begun");
    Ok(generation)
}

/// Every tenant, for what has to be done in each.
///
/// # Errors
/// [`Error::Store`].
pub async fn tenants(db: &Db) -> Result<Vec<TenantId>, Error> {
    let mut tx = db.begin_global().await?;
    let tenants = tenant::list(&mut tx).await?;
    tx.commit().await?;
    Ok(tenants)
}

/// Second half: writes are taken again, and `system.restored` says since when, why, and what was voided. `db` is of the
/// owner's role.
///
/// # Errors
/// [`Error::Store`].
pub async fn acknowledge(db: &Db, ctx: &OpCtx, generation: i64, details: Value) -> Result<(), Error> {
    let mut tx = db.begin(&ctx.tenant).await?;
    store::set_read_only(&mut tx, false).await?;
    let details = json!({"generation": generation, "acknowledged": details});
    let event = Event::new("system.restored", details);
    record(&mut tx, ctx, event.decision(Decision::Allow)).await?;
    Ok(tx.commit().await?)
}
