//! The tools of a process: the catalogue, and the way to the tool-router.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Parts, keys};
use crate::{
    config::ToolRouter,
    tools::{Client, catalog::Catalog},
};

/// What tools can do.
pub(super) fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::builtin())
}

/// The tool-router: at its configured address, else on this machine. It is asked over HTTP even in its own process, so that
/// there is one way in, with one check of who asks.
pub(super) fn client(parts: &Parts) -> anyhow::Result<Client> {
    let router: ToolRouter = parts.config.get()?;
    let base = match &router.base_url {
        Some(url) => url.clone(),
        None => router
            .http_addr
            .local_url()
            .parse()
            .context("tool_router.http_addr")?,
    };
    Ok(Client::remote(base, keys::router_token(parts)?)?)
}
