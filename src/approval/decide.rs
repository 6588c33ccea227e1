//! Yes, no, and taking a yes back.

use ed25519_dalek::SigningKey;
use serde_json::json;

use super::{Approval, ApprovalStatus, Error, Refused, may_approve, store};
use crate::{
    audit,
    domain::{ApprovalId, Digest, OpCtx, PersonId, PlanId, Role, plan::PlanDoc},
    plan::{PlanStatus, Stored, store as plans},
    store::Tx,
    warrant::statement::Statement,
};

/// A yes that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The request that was answered.
    pub approval_id: ApprovalId,
    /// Who said yes.
    pub person_id: PersonId,
}

/// Says yes to exactly the plan whose digest the approver saw. Signed, audited, all in the caller's transaction.
///
/// Refusals: those of [`may_approve`], and `not_pending`, `plan_not_pending`, `digest_mismatch`, `expired`, `target_changed`.
pub async fn grant(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    seen: Digest,
    note: Option<&str>,
    key: &SigningKey,
) -> Result<Granted, Error> {
    let (plan, approval) = open_request(tx, plan_id, ApprovalStatus::Pending).await?;
    let doc = pending_doc(&plan, PlanStatus::PendingApproval)?;
    let person_id = may_approve(tx, &ctx.actor, doc).await?;
    if seen != plan.digest || approval.digest != plan.digest {
        let message = "the plan is not the one that was seen: look at it again";
        return Err(refused("digest_mismatch", message));
    }
    if approval.tier != doc.tier {
        return Err(Error::Invalid(
            "the request is of another tier than the plan".to_owned(),
        ));
    }
    if approval.expired {
        return Err(refused("expired", "the request has expired"));
    }
    // The act would be refused anyway; nobody should answer for what can no longer be done.
    let target = plans::find_target(tx, &doc.target.name).await?;
    if target.is_none_or(|now| (now.target_id, now.version) != (doc.target.target_id, doc.target.version)) {
        let message = "the target was changed since the plan was checked: ask for a new plan";
        return Err(refused("target_changed", message));
    }
    let statement = Statement {
        approval_id: approval.approval_id,
        plan_id,
        plan_digest: plan.digest,
        tenant_id: ctx.tenant.clone(),
        approver_person_id: person_id,
        tier: approval.tier,
        expires_at: approval.expires_at,
        generation: store::generation(tx).await?,
    };
    let signed = statement.sign(key)?;
    let by = &ctx.actor.name;
    store::update_status(
        tx,
        approval.approval_id,
        ApprovalStatus::Pending,
        ApprovalStatus::Granted,
        by,
        note,
    )
    .await?;
    store::insert_grant(tx, approval.approval_id, person_id, &signed).await?;
    plans::update_status(
        tx,
        ctx,
        plan_id,
        PlanStatus::PendingApproval,
        PlanStatus::Approved,
    )
    .await?;
    let details = json!({
        "approval_id": approval.approval_id,
        "digest": plan.digest,
        "person_id": person_id,
        "tier": approval.tier,
        "key_id": signed.key_id,
        "expires_at": approval.expires_at.to_rfc3339(),
        "note": note.unwrap_or_default(),
    });
    record(
        tx,
        ctx,
        "approval.grant",
        audit::Decision::Allow,
        &approval,
        details,
    )
    .await?;
    Ok(Granted {
        approval_id: approval.approval_id,
        person_id,
    })
}

/// Says no. An approver may, and whoever asked may withdraw.
pub async fn deny(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    note: Option<&str>,
) -> Result<ApprovalId, Error> {
    close(
        tx,
        ctx,
        plan_id,
        note,
        ApprovalStatus::Pending,
        ApprovalStatus::Denied,
    )
    .await
}

/// Takes a yes back before it was used. An approver may, and whoever asked may withdraw.
pub async fn revoke(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    note: Option<&str>,
) -> Result<ApprovalId, Error> {
    close(
        tx,
        ctx,
        plan_id,
        note,
        ApprovalStatus::Granted,
        ApprovalStatus::Revoked,
    )
    .await
}

async fn close(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    note: Option<&str>,
    from: ApprovalStatus,
    to: ApprovalStatus,
) -> Result<ApprovalId, Error> {
    let (plan, approval) = open_request(tx, plan_id, from).await?;
    let stands = if from == ApprovalStatus::Granted {
        PlanStatus::Approved
    } else {
        PlanStatus::PendingApproval
    };
    let doc = pending_doc(&plan, stands)?;
    let asked = ctx.actor.person_id.is_some() && doc.requester.person_id == ctx.actor.person_id;
    if !asked && ctx.actor.role < Role::Approver {
        return Err(refused(
            "role_too_low",
            "an approver, or whoever asked, may do this",
        ));
    }
    store::update_status(tx, approval.approval_id, from, to, &ctx.actor.name, note).await?;
    plans::update_status(tx, ctx, plan_id, stands, PlanStatus::Denied).await?;
    let action = if to == ApprovalStatus::Denied {
        "approval.deny"
    } else {
        "approval.revoke"
    };
    let details = json!({ "approval_id": approval.approval_id, "note": note.unwrap_or_default() });
    record(tx, ctx, action, audit::Decision::Deny, &approval, details).await?;
    Ok(approval.approval_id)
}

/// The plan and its open request, both locked: a second approver waits here, and then finds it answered.
async fn open_request(
    tx: &mut Tx,
    plan_id: PlanId,
    wanted: ApprovalStatus,
) -> Result<(Stored, Approval), Error> {
    let plan = plans::lock(tx, plan_id).await?;
    let approval = store::lock_latest(tx, plan_id).await?;
    match approval {
        Some(approval) if approval.status == wanted => Ok((plan, approval)),
        Some(approval) if approval.status == ApprovalStatus::Expired => {
            Err(refused("expired", "the request has expired"))
        }
        _ => Err(refused(
            "not_pending",
            "there is no such open request for this plan",
        )),
    }
}

fn pending_doc(plan: &Stored, wanted: PlanStatus) -> Result<&PlanDoc, Error> {
    match plan.doc() {
        Some(doc) if plan.status == wanted => Ok(doc),
        _ => Err(refused(
            "plan_not_pending",
            "the plan does not stand where this could be decided",
        )),
    }
}

async fn record(
    tx: &mut Tx,
    ctx: &OpCtx,
    action: &'static str,
    decision: audit::Decision,
    approval: &Approval,
    details: serde_json::Value,
) -> Result<(), Error> {
    let event = audit::Event::new(action, details)
        .decision(decision)
        .subject(approval.approval_id.uuid())
        .plan(approval.plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(())
}

fn refused(code: &'static str, message: &'static str) -> Error {
    Refused { code, message }.into()
}
