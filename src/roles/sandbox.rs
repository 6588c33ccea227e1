//! The sandbox in a process of its own: no database, no secrets but its sealing key.

use super::{Health, Listening, Parts, listen};
use crate::config::Sandbox;

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let sandbox: Sandbox = parts.config.get()?;
    let health = Health::new(&parts.lifecycle);
    listen(parts, "sandbox", sandbox.http_addr, health, Default::default()).await
}
