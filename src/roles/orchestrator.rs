//! The orchestrator: leased background work.

use std::time::Duration;

use super::{Health, Listening, OnFailure, Parts, listen};
use crate::{
    config::Orchestrator,
    store::{Db, DbRole, partition},
};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let orchestrator: Orchestrator = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Orchestrator).await?;
    keep_partitions(parts, db.clone());
    let health = Health::new(&parts.lifecycle).with_database(&db);
    listen(
        parts,
        "orchestrator",
        orchestrator.health_addr,
        health,
        Default::default(),
    )
    .await
}

/// This month's partitions and the next two are there, however long the process runs.
fn keep_partitions(parts: &Parts, db: Db) {
    parts
        .lifecycle
        .spawn("partitions", OnFailure::Restart, move |stop| {
            let db = db.clone();
            async move {
                loop {
                    partition::ensure(&db).await?;
                    let pause = tokio::time::sleep(Duration::from_secs(6 * 3600));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return Ok::<_, crate::store::Error>(());
                    }
                }
            }
        });
}
