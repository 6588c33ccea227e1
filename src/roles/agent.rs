//! The agent: Slack's commands, over the gateway's public API only.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{Health, Listening, Parts, listen};
use crate::{
    agent::Settings,
    config::{Agent, Gateway, ListenAddr, Section as _},
    domain::SystemClock,
};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let agent: Agent = parts.config.get()?;
    let gateway = match &agent.gateway_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => same_machine(parts)?.local_url(),
    };
    let health = Health::new(&parts.lifecycle);
    let health = reachable(health, format!("{gateway}/healthz"))?;
    let watch = &parts.secrets;
    let routes = match (agent.slack_signing_secret, agent.gateway_token) {
        (Some(secret), Some(token)) => {
            let settings = Settings {
                gateway_url: gateway,
                token: watch.secret("agent.gateway_token", token)?,
                signing_secret: watch.secret("agent.slack_signing_secret", secret)?,
                default_target: agent.default_target.clone(),
            };
            crate::agent::routes(settings, Arc::new(SystemClock))?
        }
        _ => Default::default(),
    };
    listen(parts, "agent", agent.http_addr, health, routes).await
}

/// The gateway's own address, when no URL is set; its section is only read then.
fn same_machine(parts: &Parts) -> anyhow::Result<ListenAddr> {
    let gateway: Gateway = parts
        .config
        .get()
        .with_context(|| format!("{}.gateway_url is not set", Agent::NAME))?;
    Ok(gateway.http_addr)
}

fn reachable(health: Health, url: String) -> anyhow::Result<Health> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(health.with("gateway", move || {
        let request = client.get(&url);
        async move {
            let answer = request
                .send()
                .await
                .map_err(|error| error.without_url().to_string())?;
            answer
                .error_for_status()
                .map(drop)
                .map_err(|error| error.without_url().to_string())
        }
    }))
}
