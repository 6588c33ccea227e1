//! The gateway: the HTTP surface, and the only part that signs approvals.

use std::sync::Arc;

use uuid::Uuid;

use super::{Health, Listening, OnFailure, Parts, clock, keys, listen, policy, server, tools};
use crate::{
    config::{Gateway, ListenAddr},
    domain::OpCtx,
    gateway::{self, cursor::CursorKey},
    intake,
    investigation::Reads,
    plan::PriorReader,
    store::DbRole,
    tools::Client,
};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let settings: Gateway = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Gateway).await?;
    let gate = clock::watch(parts, "gateway", &db).await;
    policy::ensure(&db, &"default".parse()?).await?;
    let (intake, batcher) = intake::channel(db.clone());
    take_in(parts, batcher);
    let signing_key = keys::approval(parts)?;
    let health = clock::check(Health::new(&parts.lifecycle).with_database(&db), &gate);
    let gateway = gateway::Gateway::new(gateway::Parts {
        objects: keys::objects(parts)?,
        intake,
        catalog: tools::catalog(),
        engine: policy::follow(parts, &db).await?,
        reads: reads(tools::client(parts)?),
        cursors: CursorKey::derive(signing_key.get().as_bytes()),
        approval_keys: keys::approval_keys(parts, Some(signing_key.clone()))?,
        signing_key,
        streams: Default::default(),
        gate,
        stop: parts.lifecycle.stopping(),
        db,
    });
    let health = match settings.canvas_addr {
        Some(address) => canvas(parts, &settings, address, health, gateway.clone()).await?,
        None => health,
    };
    listen(
        parts,
        "gateway",
        settings.http_addr,
        health,
        gateway::service(gateway),
    )
    .await
}

/// The pages' listener. The role is ready when both listeners are: answers the checks, with this one's among them.
async fn canvas(
    parts: &Parts,
    settings: &Gateway,
    address: ListenAddr,
    health: Health,
    gateway: gateway::Gateway,
) -> anyhow::Result<Health> {
    let api = format!(
        "port {} (`gateway.http_addr`), under `/v1`; `docs/API.md` describes it",
        settings.http_addr.socket().port()
    );
    let pages = gateway::canvas::service(gateway, api);
    let listening = server::listen_for_browsers(parts, "canvas", address, health.clone(), pages).await?;
    tracing::info!(role = "gateway", canvas = %listening.address, "listening for browsers");
    let local = ListenAddr::from(listening.address).local_socket();
    Ok(health.with("canvas", move || async move {
        let connected = tokio::net::TcpStream::connect(local).await;
        connected.map(drop).map_err(|error| error.to_string())
    }))
}

fn reads(client: Client) -> gateway::Reads {
    Arc::new(move |ctx: &OpCtx| {
        let (ctx, client) = (ctx.clone(), client.clone());
        Box::new(Reads {
            ctx,
            client,
            target_id: Uuid::nil().into(),
        }) as Box<dyn PriorReader>
    })
}

/// The batcher cannot be started twice: deliveries that it holds would be lost. Its end is the process'.
fn take_in(parts: &Parts, batcher: intake::Batcher) {
    let once = std::sync::Mutex::new(Some(batcher));
    parts
        .lifecycle
        .spawn("intake", OnFailure::StopProcess, move |stop| {
            let batcher = once
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            async move {
                if let Some(batcher) = batcher {
                    batcher.run(stop).await;
                }
                Ok::<_, anyhow::Error>(())
            }
        });
}
