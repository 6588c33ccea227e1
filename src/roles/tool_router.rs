//! The tool-router: carries out what a warrant allows.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Health, Listening, OnFailure, Parts, clock, keys, listen, policy, tools};
use crate::{
    config::{self, Egress, SandboxChoice, ToolRouter},
    domain::{Actor, OpCtx, SystemClock},
    sandbox::{
        LocalConfig, RemoteConfig, RemoteEgress, RemoteRunner, Runner, SealingPublicKey,
        egress::EgressListener,
    },
    store::DbRole,
    tools::{Parts as RouterParts, Router, Settings, server},
};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let settings: ToolRouter = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Router).await?;
    let gate = clock::watch(parts, "tool-router", &db).await;
    let router_id = OpCtx::new(Actor::system("router"), "default".parse()?, "").id();
    let with = RouterParts {
        db: db.clone(),
        objects: keys::objects(parts)?,
        runner: runner(parts, &settings).await?,
        catalog: tools::catalog(),
        engine: policy::follow(parts, &db).await?,
        keys: keys::approval_keys(parts, None)?,
        gate: gate.clone(),
        grants: keys::grants(parts)?,
    };
    let router = Arc::new(Router::new(with, router_id, Settings::default()));
    drain(parts, Arc::clone(&router));
    let routes = server::routes(router, keys::router_token(parts)?);
    let health = clock::check(Health::new(&parts.lifecycle).with_database(&db), &gate);
    listen(parts, "tool-router", settings.http_addr, health, routes).await
}

/// Every act that was begun is recorded before the process ends.
fn drain(parts: &Parts, router: Arc<Router>) {
    parts.lifecycle.spawn("acts", OnFailure::Restart, move |stop| {
        let router = Arc::clone(&router);
        async move {
            stop.cancelled().await;
            router.drain().await;
            Ok::<_, anyhow::Error>(())
        }
    });
}

async fn runner(parts: &Parts, settings: &ToolRouter) -> anyhow::Result<Runner> {
    let SandboxChoice::Remote {
        url,
        public_key,
        signing_public_key,
        egress,
    } = &settings.sandbox
    else {
        return Ok(Runner::local(
            LocalConfig::default().with_tool_dirs(settings.tool_dirs.clone()),
        ));
    };
    let job_key = settings
        .job_key
        .clone()
        .unwrap_or_else(|| parts.config.secrets().reference("job_key"));
    parts.secrets.fixed("tool_router.job_key", job_key.clone())?;
    for (key, text) in [
        ("tool_router.sandbox.public_key", public_key),
        ("tool_router.sandbox.signing_public_key", signing_public_key),
    ] {
        if let Ok(reference) = text.parse() {
            parts.secrets.fixed(key, reference)?;
        }
    }
    Ok(Runner::Remote(Arc::new(RemoteRunner::new(RemoteConfig {
        url: url.clone(),
        audience: super::sandbox::AUDIENCE.to_owned(),
        signing_key: config::signing_key(&job_key).context("tool_router.job_key")?,
        sandbox_key: config::verifying_key(signing_public_key)
            .context("tool_router.sandbox.signing_public_key")?,
        sealing_key: SealingPublicKey::from_bytes(
            config::public_bytes(public_key).context("tool_router.sandbox.public_key")?,
        ),
        egress: match egress {
            Some(egress) => Some(way_out(egress).await?),
            None => None,
        },
        clock: Arc::new(SystemClock),
        client: reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?,
    }))))
}

/// The listener through which jobs elsewhere get out. It lives as long as the runner that holds it.
async fn way_out(egress: &Egress) -> anyhow::Result<RemoteEgress> {
    let address = egress.listen_addr.socket();
    let listener = EgressListener::bind(address)
        .await
        .with_context(|| format!("tool_router.sandbox.egress: listening on {address}"))?;
    tracing::info!(address = %listener.address(), advertised = egress.advertised, "egress proxy listening");
    Ok(RemoteEgress {
        listener: Arc::new(listener),
        advertised: egress.advertised.clone(),
    })
}
