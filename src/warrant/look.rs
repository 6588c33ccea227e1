//! What a look at an execution's assertions rests on: the plan's checked bytes and the place as it is registered.

use super::{Error, Refusal, approved, gates, store};
use crate::{
    domain::{Target, plan::PlanDoc, run::LookRef},
    store::Tx,
};

/// The plan whose assertions may be looked at now, and where.
#[derive(Debug, Clone)]
pub struct Looking {
    /// The whole plan, as it was approved.
    pub doc: PlanDoc,
    /// Where; or why there is no such place any more, and nothing can be seen.
    pub target: Result<Target, Refusal>,
}

/// Loads the plan behind `look`, which the execution's present lease must ask for. Reads only: no gate is asked.
pub async fn looking(tx: &mut Tx, look: &LookRef) -> Result<Looking, Error> {
    let rows = store::load(tx, look.execution_id).await?;
    let doc = approved::plan(&rows)?;
    if rows.execution.status != "running" {
        let message = format!("the execution is `{}`, not `running`", rows.execution.status);
        return Err(Refusal::new("execution_status", message).into());
    }
    if rows.execution.epoch != look.epoch {
        return Err(Refusal::new("stale_epoch", "another lease of this execution is newer").into());
    }
    let target = gates::target(&rows, &doc);
    Ok(Looking { doc, target })
}
