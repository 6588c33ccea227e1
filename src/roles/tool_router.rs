//! The tool-router: carries out what a warrant allows.

use super::{Health, Listening, Parts, listen};
use crate::{config::ToolRouter, store::DbRole};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let router: ToolRouter = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Router).await?;
    let health = Health::new(&parts.lifecycle).with_database(&db);
    listen(parts, "tool-router", router.http_addr, health, Default::default()).await
}
