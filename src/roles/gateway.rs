//! The gateway: the HTTP surface, and the only part that signs approvals.

use super::{Health, Listening, Parts, listen};
use crate::{config::Gateway, store::DbRole};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let gateway: Gateway = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Gateway).await?;
    let health = Health::new(&parts.lifecycle).with_database(&db);
    listen(parts, "gateway", gateway.http_addr, health, Default::default()).await
}
