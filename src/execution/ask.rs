//! What people may ask of an execution. The engine applies it, or refuses it, at its next turn.

use serde_json::json;

use super::{Error, list, start::JOB, store};
use crate::{
    approval, audit,
    domain::{
        Actor, ExecutionId, OpCtx,
        plan::PlanDoc,
        run::{JournalEvent, Resolution},
    },
    store::{Tx, job},
};

/// Asks to stop: what is running ends, what was done is undone.
pub async fn cancel(tx: &mut Tx, ctx: &OpCtx, id: ExecutionId) -> Result<(), Error> {
    let execution = list::get(tx, id).await?;
    match execution.status.as_str() {
        "pending" | "running" => {}
        "needs_attention" => {
            return Err(status(
                &execution.status,
                "settle it with `exec resolve` or `exec rollback`",
            ));
        }
        "rolling_back" => return Err(status(&execution.status, "it is already being undone")),
        _ => return Err(status(&execution.status, "it is over")),
    }
    ask(
        tx,
        ctx,
        id,
        "execution.cancel",
        &JournalEvent::CancelRequested {
            by: ctx.actor.name.clone(),
        },
        None,
    )
    .await
}

/// Asks to undo what was done. For an execution in `needs_attention`, by an approver other than the requester.
pub async fn rollback(tx: &mut Tx, ctx: &OpCtx, id: ExecutionId, note: Option<&str>) -> Result<(), Error> {
    let execution = list::get(tx, id).await?;
    let settles = match execution.status.as_str() {
        "running" => false,
        "needs_attention" => {
            let doc = list::plan_of(tx, id).await?;
            may_settle(tx, &ctx.actor, &doc).await?;
            true
        }
        _ => {
            return Err(status(
                &execution.status,
                "only a running or suspended execution can be rolled back",
            ));
        }
    };
    let event = JournalEvent::RollbackRequested {
        by: ctx.actor.name.clone(),
        settles,
    };
    ask(tx, ctx, id, "execution.rollback", &event, note).await
}

/// Says what became of an unknown step, or abandons. By an approver other than the requester.
pub async fn resolve(
    tx: &mut Tx,
    ctx: &OpCtx,
    id: ExecutionId,
    step: u32,
    resolution: Resolution,
    note: Option<&str>,
) -> Result<(), Error> {
    let execution = list::get(tx, id).await?;
    if execution.status != "needs_attention" {
        return Err(status(
            &execution.status,
            "only an execution in needs_attention can be resolved",
        ));
    }
    let doc = list::plan_of(tx, id).await?;
    may_settle(tx, &ctx.actor, &doc).await?;
    if doc.step(step).is_none() {
        return Err(Error::NoSuchStep { step, resolution });
    }
    let event = JournalEvent::Resolved {
        step,
        resolution,
        by: ctx.actor.name.clone(),
    };
    ask(tx, ctx, id, "execution.resolve", &event, note).await
}

async fn ask(
    tx: &mut Tx,
    ctx: &OpCtx,
    id: ExecutionId,
    action: &'static str,
    event: &JournalEvent,
    note: Option<&str>,
) -> Result<(), Error> {
    store::insert_request(tx, ctx, id, event, note).await?;
    let details = json!({ "request": event, "note": note.unwrap_or_default() });
    let entry = audit::Event::new(action, details)
        .subject(id.uuid())
        .execution(id)
        .decision(audit::Decision::Allow);
    audit::record(tx, ctx, entry).await?;
    job::enqueue(tx, JOB, &ctx.tenant, Some(id.uuid()), 0).await?;
    Ok(())
}

/// Settling what nobody knows is as weighty as approving: the same function decides.
async fn may_settle(tx: &mut Tx, actor: &Actor, doc: &PlanDoc) -> Result<(), Error> {
    match approval::may_approve(tx, actor, doc).await {
        Ok(_) => Ok(()),
        Err(approval::Error::Refused(refused)) => Err(Error::Forbidden(refused.message.to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn status(status: &str, remedy: &'static str) -> Error {
    Error::Status {
        status: status.to_owned(),
        remedy,
    }
}
