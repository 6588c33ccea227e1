//! `carapulse healthcheck`: for a container's health probe, where there is no curl.

use std::time::Duration;

use clap::Args;

use super::{Exit, Failure};
use crate::{config::Config, roles::ServeRole};

/// `carapulse healthcheck`.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// The role that should run on this machine
    #[arg(long, value_name = "ROLE", value_enum)]
    role: ServeRole,
    /// Ask there, and whether it is ready to work, instead of on this machine whether it lives: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    at: Option<url::Url>,
}

/// Whether the role lives on this machine, as its configuration says where.
pub(super) async fn run(check: &Healthcheck, config: &Config) -> anyhow::Result<()> {
    ask(check.role, check.role.health_urls(config)?).await
}

/// Whether the role is ready at an address; needs no configuration. None: no address was given.
pub(super) async fn run_elsewhere(check: &Healthcheck) -> Option<anyhow::Result<()>> {
    let at = check.at.as_ref()?;
    let url = format!("{}/readyz", at.as_str().trim_end_matches('/'));
    Some(ask(check.role, vec![url]).await)
}

async fn ask(role: ServeRole, urls: Vec<String>) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    for url in urls {
        let answer = client.get(&url).send().await;
        // A probe knows two answers: 1 is the other one.
        answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| Failure::of(Exit::Failed, format!("{}: {error}", role.name())))?;
        outln!("{} answers on {url}", role.name());
    }
    Ok(())
}
