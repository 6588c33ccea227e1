//! Asking for an approval, and what nobody answered in time.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Approval, ApprovalStatus, Error, Refused, store};
use crate::{
    audit,
    domain::{ApprovalId, OpCtx, Tier, plan::PlanDoc},
    notify::{self, Notification},
    plan::{Checked, PlanStatus, store as plans},
    store::{Error as StoreError, Tx},
};

/// Asks people to approve a plan that was inserted in this transaction or before. `at` is database time: when it was stored,
/// which [`plans::insert`] answers, or now. Older plans of the same incident, and their approvals, are closed: the newest proposal
/// is the one to decide on. Answers the request as it is stored.
pub async fn request(
    tx: &mut Tx,
    ctx: &OpCtx,
    checked: &Checked,
    at: DateTime<Utc>,
) -> Result<Approval, Error> {
    let doc = checked.doc();
    if doc.tier == Tier::Read || doc.writes().next().is_none() {
        let message = "a plan that only reads needs no approval";
        return Err(Refused {
            code: "nothing_to_approve",
            message,
        }
        .into());
    }
    if let Some(incident) = doc.incident_id {
        plans::supersede_older(tx, ctx, incident, doc.plan_id).await?;
        store::close_superseded(tx, incident, &ctx.actor.name).await?;
    }
    let ttl_secs = i64::from(doc.constraints.approval_ttl_secs);
    let approval = Approval {
        approval_id: ctx.id(),
        plan_id: doc.plan_id,
        digest: checked.digest(),
        tier: doc.tier,
        status: ApprovalStatus::Pending,
        requested_at: at,
        expires_at: at + TimeDelta::seconds(ttl_secs),
        expired: false,
        decided_at: None,
        decided_by: None,
        note: None,
    };
    let details = json!({
        "approval_id": approval.approval_id,
        "digest": approval.digest,
        "tier": approval.tier,
        "expires_at": approval.expires_at.to_rfc3339(),
    });
    let event = audit::Event::new("approval.request", details.clone())
        .decision(audit::Decision::RequireApproval)
        .subject(approval.approval_id.uuid())
        .plan(doc.plan_id);
    let event = audit::row(tx, ctx, &event)?;
    let message = notify::row(ctx, requested(doc, approval.approval_id, details))?;
    // A job of its own: one row for all requests of a tenant would be a lock that every request waits for.
    store::insert(tx, &approval, event, message, ttl_secs + 1).await?;
    Ok(approval)
}

/// The message to those who may decide.
fn requested(doc: &PlanDoc, approval_id: ApprovalId, details: Value) -> Notification {
    let mut body = details;
    body["plan_id"] = json!(doc.plan_id);
    body["summary"] = json!(doc.summary);
    body["target"] = json!(doc.target.name);
    body["risk"] = json!(doc.risk);
    Notification {
        kind: notify::Kind::ApprovalRequested,
        severity: notify::Severity::Info,
        subject: format!("Approval requested: {}", doc.summary),
        body,
        dedupe_key: format!("approval_requested:{approval_id}"),
    }
}

/// Kind of the job that calls [`expire_due`]; one a request, due when that expires.
pub const EXPIRY_JOB: &str = "expiry";

/// Expires what nobody answered, or started, in time, with its plan. Returns how many, and when to look again.
pub async fn expire_due(tx: &mut Tx, ctx: &OpCtx) -> Result<(u32, Option<i64>), Error> {
    let mut count = 0;
    for (approval_id, plan_id, status) in store::list_due(tx).await? {
        let plan = plans::lock_status(tx, plan_id).await?;
        match store::update_status(
            tx,
            approval_id,
            status,
            ApprovalStatus::Expired,
            "system:expiry",
            None,
        )
        .await
        {
            Ok(()) => count += 1,
            // Somebody answered while we waited for the plan: look again next time.
            Err(StoreError::Conflict { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        if plan.may_become(PlanStatus::Expired) {
            plans::update_status(tx, ctx, plan_id, plan, PlanStatus::Expired).await?;
        }
        let event = audit::Event::new(
            "approval.expire",
            json!({ "approval_id": approval_id, "was": status }),
        )
        .decision(audit::Decision::Deny)
        .subject(approval_id.uuid())
        .plan(plan_id);
        audit::record(tx, ctx, event).await?;
    }
    tracing::debug!(tenant = %ctx.tenant, count, "expired approvals");
    Ok((count, store::next_due_secs(tx).await?))
}

/// Gives the tenant's open requests that nothing would end a job again; says how many these were.
pub async fn find_lost(tx: &mut Tx) -> Result<u64, Error> {
    Ok(store::insert_lost_jobs(tx).await?)
}
