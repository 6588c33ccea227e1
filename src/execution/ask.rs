//! What people may ask of an execution. The engine applies it, or refuses it, at its next turn.

use serde_json::json;

use super::{Error, list, start::JOB, store};
use crate::{
    audit,
    domain::{
        Actor, ActorKind, ExecutionId, OpCtx, Role,
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
    match execution.status.as_str() {
        "running" => {}
        "needs_attention" => may_settle(&ctx.actor, &list::plan_of(tx, id).await?)?,
        _ => {
            return Err(status(
                &execution.status,
                "only a running or suspended execution can be rolled back",
            ));
        }
    }
    let event = JournalEvent::RollbackRequested {
        by: ctx.actor.name.clone(),
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
    may_settle(&ctx.actor, &doc)?;
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

/// Settling what nobody knows is as weighty as approving: the same separation of duties.
fn may_settle(actor: &Actor, doc: &PlanDoc) -> Result<(), Error> {
    let forbid = |why: &str| Err(Error::Forbidden(why.to_owned()));
    if actor.kind != ActorKind::Person || actor.role < Role::Approver {
        return forbid("an execution that needs attention is settled by a person with the approver role");
    }
    let Some(person) = actor.person_id else {
        return forbid("this identity is linked to no person");
    };
    let excluded = [doc.requester.person_id, doc.requester.token_owner_person_id];
    if excluded.contains(&Some(person)) || doc.editors.contains(&person) {
        return forbid("whoever asked for the plan cannot settle its execution");
    }
    Ok(())
}

fn status(status: &str, remedy: &'static str) -> Error {
    Error::Status {
        status: status.to_owned(),
        remedy,
    }
}
