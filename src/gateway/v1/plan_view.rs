//! A stored plan as clients see it. The keys are those of old clients, and some more.

use serde_json::{Value, json};

use crate::{
    approval::Approval,
    domain::plan::{PlanDoc, Step},
    plan::{Content, Stored, risk_summary},
};

/// The whole plan.
pub(super) fn view(stored: &Stored, approvals: &[Approval]) -> Value {
    let mut out = match &stored.content {
        Content::Plan(doc) => of_doc(doc),
        Content::Draft(draft) => json!({
            "trigger": draft.trigger,
            "summary": draft.summary,
            "intent": draft.intent,
            "target": draft.target,
            "risk_level": "read",
            "lacks": draft.lacks,
            "steps": [],
            "proposed_steps": draft.steps,
        }),
    };
    out["plan_id"] = json!(stored.plan_id);
    out["status"] = json!(stored.status);
    out["digest"] = json!(stored.digest);
    out["created_at"] = json!(stored.created_at);
    out["updated_at"] = json!(stored.updated_at);
    out["approvals"] = approvals.iter().map(approval).collect();
    out
}

/// An approval.
pub(super) fn approval(row: &Approval) -> Value {
    json!({
        "approval_id": row.approval_id,
        "plan_id": row.plan_id,
        "digest": row.digest,
        "tier": row.tier,
        "status": row.status,
        "approver": row.decided_by,
        "approver_note": row.note,
        "requested_at": row.requested_at,
        "expires_at": row.expires_at,
        "decided_at": row.decided_at,
    })
}

/// What is at stake.
pub(super) fn risk(doc: &PlanDoc) -> Value {
    let summary = risk_summary(doc);
    json!({
        "plan_id": doc.plan_id,
        "risk_level": summary.risk,
        "tier": summary.tier,
        "writes": summary.writes,
        "targets": summary.writes,
        "reasons": summary.reasons,
    })
}

fn of_doc(doc: &PlanDoc) -> Value {
    let steps: Vec<Value> = doc
        .steps
        .iter()
        .enumerate()
        .map(|(ordinal, step)| of_step(doc, ordinal, step))
        .collect();
    json!({
        "trigger": doc.trigger,
        "summary": doc.summary,
        "intent": doc.intent,
        "incident_id": doc.incident_id,
        "requester": doc.requester,
        "target": doc.target.name,
        "target_version": doc.target.version,
        "context": doc.target.context,
        "risk_level": doc.risk,
        "tier": doc.tier,
        "constraints": doc.constraints,
        "verification": doc.verification,
        "policy_bundle": doc.policy_bundle,
        "steps": steps,
    })
}

fn of_step(doc: &PlanDoc, ordinal: usize, step: &Step) -> Value {
    json!({
        "step_id": format!("{}/{ordinal}", doc.plan_id),
        "ordinal": ordinal,
        "stage": step.stage,
        "tool": step.tool,
        "action": step.action,
        "input": step.args,
        "reason": step.reason,
        "risk_level": step.risk,
        "effect": step.effect,
        "guard": step.guard,
        "expected_prior": step.expected_prior,
        "preconditions": step.preconditions,
        "rollback": step.inverse,
        "evidence_required": step.evidence_required,
        "timeout_secs": step.timeout_secs,
    })
}
