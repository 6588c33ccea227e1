//! Executions for people to read.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{Error, store};
use crate::{
    domain::{ApprovalId, ExecutionId, PlanId, plan::PlanDoc},
    store::Tx,
};

/// One execution.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Execution {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The plan that it carries out.
    pub plan_id: PlanId,
    /// The approval that it consumed; none for plans that only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// `pending`, `running`, `needs_attention`, `rolling_back`, or how it ended.
    pub status: String,
    /// Why it turned back, is suspended or failed: a short, stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who started it.
    pub requested_by: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When the engine took it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// One step of an execution.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StepRow {
    /// From 0.
    pub ordinal: u32,
    /// When it runs.
    pub stage: String,
    /// Tool of the catalogue.
    pub tool: String,
    /// Action of the tool.
    pub action: String,
    /// `pending`, `running`, `done`, `failed` or `unknown`.
    pub status: String,
    /// Number of the last attempt; 0 before the first.
    pub attempts: u32,
    /// Status of the inverse, once it was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_status: Option<String>,
}

/// An execution, if this tenant has it.
pub async fn find(tx: &mut Tx, id: ExecutionId) -> Result<Option<Execution>, Error> {
    store::find(tx, id).await
}

/// A page of executions, newest first: at most `limit` (1–201) before the id `before`.
pub async fn list(
    tx: &mut Tx,
    status: Option<&str>,
    plan: Option<PlanId>,
    before: Option<ExecutionId>,
    limit: i64,
) -> Result<Vec<Execution>, Error> {
    let before = before.map_or(Uuid::max(), ExecutionId::uuid);
    store::list(tx, status, plan, before, limit.clamp(1, 201)).await
}

/// The steps of an execution with how far each has come.
pub async fn steps(tx: &mut Tx, id: ExecutionId) -> Result<Vec<StepRow>, Error> {
    let (doc, state) = store::plan_and_state(tx, id).await?.ok_or(Error::NotFound(id))?;
    let word = |status| {
        serde_json::to_value(status)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let row =
        |(ordinal, (step, run)): (u32, (&crate::domain::plan::Step, &super::machine::StepState))| StepRow {
            ordinal,
            stage: step.stage.as_str().to_owned(),
            tool: step.tool.clone(),
            action: step.action.clone(),
            status: word(run.forward.status),
            attempts: run.forward.attempt,
            rollback_status: (run.rollback.attempt > 0).then(|| word(run.rollback.status)),
        };
    Ok((0..).zip(doc.steps.iter().zip(&state.steps)).map(row).collect())
}

pub(super) async fn get(tx: &mut Tx, id: ExecutionId) -> Result<Execution, Error> {
    find(tx, id).await?.ok_or(Error::NotFound(id))
}

pub(super) async fn plan_of(tx: &mut Tx, id: ExecutionId) -> Result<PlanDoc, Error> {
    store::plan_and_state(tx, id)
        .await?
        .map(|(doc, _)| doc)
        .ok_or(Error::NotFound(id))
}
