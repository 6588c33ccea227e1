//! Going on after a restore: a new generation, chosen by a person, on the record.

use serde_json::json;

use super::{Decision, Error, Event, record, sequencer::store};
use crate::{
    domain::OpCtx,
    store::{Db, DbRole},
};

/// Raises the installation's generation by one, which voids every signature, lease and epoch of the old one, makes it
/// read-only until an admin lifts that, and records `system.restored`. `db` is of the owner's role. Answers the new generation.
///
/// # Errors
/// [`Error::Store`]; with another role, because only the owner may change the generation.
pub async fn acknowledge(db: &Db, ctx: &OpCtx, reason: &str) -> Result<i64, Error> {
    debug_assert_eq!(
        db.role(),
        DbRole::Owner,
        "only the owner may change the generation"
    );
    let mut tx = db.begin(&ctx.tenant).await?;
    let generation = store::raise_generation(&mut tx).await?;
    let event = Event::new(
        "system.restored",
        json!({"generation": generation, "reason": reason}),
    );
    record(&mut tx, ctx, event.decision(Decision::Allow)).await?;
    tx.commit().await?;
    tracing::warn!(generation, "restore acknowledged: a new generation has begun");
    Ok(generation)
}
