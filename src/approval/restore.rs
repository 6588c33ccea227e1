//! After a restore: a yes that was given and not used is taken back. What it was given for may have been done since.

use serde_json::json;

use super::{ApprovalStatus, Error, store};
use crate::{
    audit,
    domain::OpCtx,
    plan::{PlanStatus, store as plans},
    store::Tx,
};

/// Voids every granted approval of the tenant that no execution has consumed; their plans have to be asked for again.
/// Answers how many there were. An approval of another generation is refused anyway: this makes lists say so.
///
/// # Errors
/// [`Error`], and then nothing was changed.
pub async fn void_unconsumed(tx: &mut Tx, ctx: &OpCtx, why: &str) -> Result<u32, Error> {
    let mut count = 0;
    for (approval_id, plan_id) in store::list_granted(tx).await? {
        let plan = plans::lock_status(tx, plan_id).await?;
        let (granted, revoked) = (ApprovalStatus::Granted, ApprovalStatus::Revoked);
        store::update_status(tx, approval_id, granted, revoked, "system:restore", Some(why)).await?;
        if plan.may_become(PlanStatus::Expired) {
            plans::update_status(tx, ctx, plan_id, plan, PlanStatus::Expired).await?;
        }
        let event = audit::Event::new("approval.void", json!({ "approval_id": approval_id, "why": why }))
            .decision(audit::Decision::Deny)
            .subject(approval_id.uuid())
            .plan(plan_id);
        audit::record(tx, ctx, event).await?;
        count += 1;
    }
    Ok(count)
}
