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
}

pub(super) async fn run(check: &Healthcheck, config: &Config) -> anyhow::Result<()> {
    let url = check.role.health_url(config)?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let answer = client.get(&url).send().await;
    match answer.and_then(reqwest::Response::error_for_status) {
        Ok(_) => {
            outln!("{} answers on {url}", check.role.name());
            Ok(())
        }
        // A probe knows two answers: 1 is the other one.
        Err(error) => Err(Failure::of(
            Exit::Failed,
            format!("{}: {error}", check.role.name()),
        )),
    }
}
