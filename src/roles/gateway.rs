//! The gateway: the HTTP surface, and the only part that signs approvals.

use std::sync::Arc;

use uuid::Uuid;

use super::{Health, Listening, OnFailure, Parts, keys, listen, policy, tools};
use crate::{
    config::{Gateway, Objects},
    domain::OpCtx,
    gateway::{self, cursor::CursorKey},
    intake,
    investigation::Reads,
    plan::PriorReader,
    store::DbRole,
    tools::Client,
    warrant::statement::ApprovalKeys,
};

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let settings: Gateway = parts.config.get()?;
    let objects: Objects = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Gateway).await?;
    policy::ensure(&db, &"default".parse()?).await?;
    let (intake, batcher) = intake::channel(db.clone());
    take_in(parts, batcher);
    let signing_key = keys::approval(&parts.config)?;
    let verifying = keys::approval_public(&parts.config)?
        .into_iter()
        .chain([signing_key.verifying_key()]);
    let health = Health::new(&parts.lifecycle).with_database(&db);
    let gateway = gateway::Gateway::new(gateway::Parts {
        objects: objects.open(parts.config.data_dir())?,
        intake,
        catalog: tools::catalog(),
        engine: policy::follow(parts, &db).await?,
        reads: reads(tools::client(parts)?),
        cursors: CursorKey::derive(signing_key.as_bytes()),
        approval_keys: ApprovalKeys::new(verifying),
        signing_key,
        stop: parts.lifecycle.stopping(),
        db,
    });
    listen(
        parts,
        "gateway",
        settings.http_addr,
        health,
        gateway::service(gateway),
    )
    .await
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
