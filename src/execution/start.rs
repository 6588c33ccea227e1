//! An approved plan becomes an execution, in the caller's transaction.

use serde_json::json;

use super::{
    Error,
    machine::{Shape, State},
    store,
};
use crate::{
    approval::Approved,
    audit,
    domain::{ExecutionId, OpCtx},
    store::{Tx, job},
};

/// Kind of the job that drives an execution; its subject is the execution's id.
pub(super) const JOB: &str = "execution";

/// Gives the tenant's executions whose job is gone a job again, and says how many these were: nothing stays "running" because a row
/// was deleted. One that waits for a person needs none until somebody asks something of it.
pub async fn find_lost(tx: &mut Tx) -> Result<u64, Error> {
    store::insert_lost_jobs(tx).await
}

/// Creates the execution of `approved`, and the job that drives it, in the transaction that consumed the approval.
pub async fn start(tx: &mut Tx, ctx: &OpCtx, approved: &Approved) -> Result<ExecutionId, Error> {
    let doc = approved.doc();
    if doc.steps.is_empty() {
        return Err(Error::NotExecutable("it has no steps"));
    }
    if doc.writes().next().is_some() && approved.approval_id().is_none() {
        return Err(Error::NotExecutable("it writes, and has no approval"));
    }
    let execution_id = ctx.id();
    let new = store::New {
        execution_id,
        plan_id: doc.plan_id,
        approval_id: approved.approval_id(),
        state: &State::new(&Shape::of(doc)),
        requested_by: &ctx.actor.name,
    };
    store::insert(tx, ctx, &new).await?;
    let event = audit::Event::new("execution.create", json!({ "plan_digest": approved.digest() }))
        .decision(audit::Decision::Allow)
        .subject(execution_id.uuid())
        .plan(doc.plan_id)
        .execution(execution_id);
    audit::record(tx, ctx, event).await?;
    job::enqueue(tx, JOB, &ctx.tenant, Some(execution_id.uuid()), 0).await?;
    metrics::counter!("carapulse_execution_created_total").increment(1);
    Ok(execution_id)
}
