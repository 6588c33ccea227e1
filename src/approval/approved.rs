//! The proof that a plan may be executed: made once, from stored rows whose signature and digest fit.

use serde_json::json;

use super::{ApprovalStatus, Error, Refused, store};
use crate::{
    audit,
    domain::{ApprovalId, Digest, OpCtx, PlanId, Tier, plan::PlanDoc},
    plan::{PlanStatus, Stored, store as plans},
    store::Tx,
    warrant::statement::ApprovalKeys,
};

/// A plan that may be executed, once. Only [`consume`] makes one; it cannot be cloned or read from anywhere.
#[derive(Debug)]
pub struct Approved {
    doc: PlanDoc,
    digest: Digest,
    approval_id: Option<ApprovalId>,
}

impl Approved {
    /// What was approved.
    #[must_use]
    pub const fn doc(&self) -> &PlanDoc {
        &self.doc
    }

    /// Digest of the bytes that were approved.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The approval that was consumed; none for a plan that only reads.
    #[must_use]
    pub const fn approval_id(&self) -> Option<ApprovalId> {
        self.approval_id
    }
}

/// Consumes the plan's approval, in the transaction that creates its execution: a second time there is none.
///
/// Refusals: `not_approved`, `expired`, `empty_plan`. A row whose signature, digest, tier, expiry or generation does not fit is
/// [`Error::Invalid`] (or [`Error::Statement`]), whoever wrote it.
pub async fn consume(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    keys: &ApprovalKeys,
) -> Result<Approved, Error> {
    let plan = plans::lock(tx, plan_id).await?;
    let (doc, digest) = executable(plan)?;
    let approval_id = if doc.writes().next().is_none() && doc.tier == Tier::Read {
        None
    } else {
        Some(consume_grant(tx, ctx, &doc, digest, keys).await?)
    };
    plans::update_status(tx, ctx, plan_id, PlanStatus::Approved, PlanStatus::Executed).await?;
    Ok(Approved {
        doc,
        digest,
        approval_id,
    })
}

fn executable(plan: Stored) -> Result<(PlanDoc, Digest), Error> {
    let (status, digest) = (plan.status, plan.digest);
    let doc = match plan.content {
        crate::plan::Content::Plan(doc) if status == PlanStatus::Approved => *doc,
        _ => {
            return Err(refused(
                "not_approved",
                "the plan is not approved, or was executed already",
            ));
        }
    };
    if doc.steps.is_empty() {
        return Err(refused("empty_plan", "a plan without steps is never executed"));
    }
    Ok((doc, digest))
}

async fn consume_grant(
    tx: &mut Tx,
    ctx: &OpCtx,
    doc: &PlanDoc,
    digest: Digest,
    keys: &ApprovalKeys,
) -> Result<ApprovalId, Error> {
    let approval = store::lock_latest(tx, doc.plan_id).await?;
    let Some(approval) = approval.filter(|approval| approval.status == ApprovalStatus::Granted) else {
        return Err(refused("not_approved", "the plan has no unused approval"));
    };
    if approval.expired {
        return Err(refused("expired", "the approval has expired"));
    }
    let Some(signed) = store::find_grant(tx, approval.approval_id).await? else {
        return Err(Error::Invalid("it was never signed".to_owned()));
    };
    let statement = keys.verify(&signed.key_id, &signed.statement, &signed.signature)?;
    let facts = [
        (
            statement.approval_id == approval.approval_id,
            "it is of another request",
        ),
        (statement.plan_id == doc.plan_id, "it is of another plan"),
        (
            statement.plan_digest == digest && approval.digest == digest,
            "it is over other bytes",
        ),
        (statement.tenant_id == doc.tenant_id, "it is of another tenant"),
        (
            statement.tier >= doc.tier && statement.tier == approval.tier,
            "it is of a lower tier",
        ),
        (
            statement.expires_at == approval.expires_at,
            "it expires at another time",
        ),
        (
            statement.generation == store::generation(tx).await?,
            "it is from before a restore",
        ),
    ];
    if let Some((_, why)) = facts.iter().find(|(fits, _)| !fits) {
        return Err(Error::Invalid((*why).to_owned()));
    }
    let (granted, consumed) = (ApprovalStatus::Granted, ApprovalStatus::Consumed);
    store::update_status(tx, approval.approval_id, granted, consumed, &ctx.actor.name, None).await?;
    let details = json!({ "approval_id": approval.approval_id, "digest": digest });
    let event = audit::Event::new("approval.consume", details)
        .decision(audit::Decision::Allow)
        .subject(approval.approval_id.uuid())
        .plan(doc.plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(approval.approval_id)
}

fn refused(code: &'static str, message: &'static str) -> Error {
    Refused { code, message }.into()
}
