//! The evidence bundle of a finished execution: everything that was stored of it, sealed by the audit log.
//!
//! The parts are gathered, their digest is recorded as `evidence.export`, and when a signed checkpoint covers that event the
//! bundle is closed with the proofs. Whoever has the bundle and the trusted keys needs nothing else.

mod store;

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Error, list};
use crate::{
    audit::{
        self,
        bundle::{Draft, EXPORT_ACTION},
    },
    domain::{ExecutionId, OpCtx, PlanId},
    store::{Db, ObjectStore},
};

/// How long an export waits for a checkpoint that covers it.
const SIGNED_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Packs the evidence of a finished execution into one tar. Reads as the gateway.
pub async fn export(db: &Db, objects: &ObjectStore, ctx: &OpCtx, id: ExecutionId) -> Result<Vec<u8>, Error> {
    let mut tx = db.begin(&ctx.tenant).await?;
    let execution = list::get(&mut tx, id).await?;
    if execution.completed_at.is_none() {
        let remedy = "its evidence is exported when it is over";
        return Err(Error::Status {
            status: execution.status,
            remedy,
        });
    }
    let (mut parts, logs) = store::parts(&mut tx, id, execution.plan_id).await?;
    tx.commit().await?;
    for log in logs {
        parts.push(log.read(objects).await?);
    }
    let draft = Draft::new(execution.plan_id, id, &execution.status, parts)?;
    let digest = draft.content_digest()?;
    let mut tx = db.begin(&ctx.tenant).await?;
    let event = audit::Event::new(EXPORT_ACTION, json!({ "content_digest": digest }))
        .decision(audit::Decision::Allow)
        .subject(id.uuid())
        .plan(execution.plan_id)
        .execution(id);
    let event_id = audit::record(&mut tx, ctx, event).await?;
    tx.commit().await?;
    seal(db, ctx, draft, execution.plan_id, id, &event_id.to_string()).await
}

async fn seal(
    db: &Db,
    ctx: &OpCtx,
    draft: Draft,
    plan: PlanId,
    id: ExecutionId,
    event_id: &str,
) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + SIGNED_WITHIN;
    loop {
        let mut tx = db.begin(&ctx.tenant).await?;
        let leaves = audit::leaves_about(&mut tx, plan, Some(id)).await?;
        let checkpoint = audit::latest_checkpoint(&mut tx).await?;
        tx.commit().await?;
        let sealed = leaves
            .iter()
            .find(|leaf| String::from_utf8_lossy(&leaf.body).contains(event_id));
        if let (Some(sealed), Some(checkpoint)) = (sealed, checkpoint)
            && sealed.position < checkpoint.size
        {
            let covered: Vec<_> = leaves
                .into_iter()
                .filter(|leaf| leaf.position < checkpoint.size)
                .collect();
            let positions: Vec<u64> = covered.iter().map(|leaf| leaf.position).collect();
            let proofs = audit::inclusion_proofs(db, &positions, checkpoint.size).await?;
            return Ok(draft.seal(&covered, &proofs, &checkpoint.note)?);
        }
        if Instant::now() > deadline {
            return Err(Error::NotSigned);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
