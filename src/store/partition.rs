//! Partitions of the tables that grow with time: this month's and the next two must be there before rows are.

use super::{Db, Error};

/// Makes the partitions that are missing; for the orchestrator's role.
///
/// # Errors
/// As every statement: [`Error`].
pub async fn ensure(db: &Db) -> Result<(), Error> {
    let mut tx = db.begin_global().await?;
    sqlx::query("SELECT ensure_partitions()")
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
