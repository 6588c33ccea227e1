//! A stored plan as clients see it. The keys are those of old clients, and some more.
//!
//! Written out from what was read, without a tree of values in between: this is the answer that is asked for most.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    approval::{Approval, ApprovalStatus},
    domain::{
        ApprovalId, ContextRef, Digest, EffectKind, Guard, IncidentId, PlanId, Risk, Tier,
        plan::{
            Args, Assertion, Constraints, Inverse, PlanDoc, Requester, Stage, Step, Trigger, Verification,
        },
    },
    plan::{Content, Draft, PlanStatus, StepRequest, Stored, risk_summary},
};

/// The whole plan.
#[derive(Debug, Serialize)]
pub(super) struct PlanView<'a> {
    plan_id: PlanId,
    status: PlanStatus,
    digest: Digest,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    approvals: Vec<ApprovalView<'a>>,
    #[serde(flatten)]
    content: ContentView<'a>,
}

impl<'a> PlanView<'a> {
    pub(super) fn new(stored: &'a Stored, approvals: &'a [Approval]) -> Self {
        Self {
            plan_id: stored.plan_id,
            status: stored.status,
            digest: stored.digest,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            approvals: approvals.iter().map(ApprovalView::new).collect(),
            content: match &stored.content {
                Content::Plan(doc) => ContentView::Plan(Box::new(DocView::new(doc))),
                Content::Draft(draft) => ContentView::Draft(DraftView::new(draft)),
            },
        }
    }
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

#[derive(Debug, Serialize)]
struct ApprovalView<'a> {
    approval_id: ApprovalId,
    plan_id: PlanId,
    digest: Digest,
    tier: Tier,
    status: ApprovalStatus,
    approver: Option<&'a str>,
    approver_note: Option<&'a str>,
    requested_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

impl<'a> ApprovalView<'a> {
    fn new(row: &'a Approval) -> Self {
        Self {
            approval_id: row.approval_id,
            plan_id: row.plan_id,
            digest: row.digest,
            tier: row.tier,
            status: row.status,
            approver: row.decided_by.as_deref(),
            approver_note: row.note.as_deref(),
            requested_at: row.requested_at,
            expires_at: row.expires_at,
            decided_at: row.decided_at,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ContentView<'a> {
    Plan(Box<DocView<'a>>),
    Draft(DraftView<'a>),
}

#[derive(Debug, Serialize)]
struct DocView<'a> {
    trigger: Trigger,
    summary: &'a str,
    intent: Option<&'a str>,
    incident_id: Option<IncidentId>,
    requester: &'a Requester,
    target: &'a str,
    target_version: i64,
    context: &'a ContextRef,
    risk_level: Risk,
    tier: Tier,
    constraints: &'a Constraints,
    verification: &'a Verification,
    policy_bundle: Digest,
    steps: Vec<StepView<'a>>,
}

impl<'a> DocView<'a> {
    fn new(doc: &'a PlanDoc) -> Self {
        let step = |(ordinal, step)| StepView::new(doc.plan_id, ordinal, step);
        Self {
            trigger: doc.trigger,
            summary: &doc.summary,
            intent: doc.intent.as_deref(),
            incident_id: doc.incident_id,
            requester: &doc.requester,
            target: &doc.target.name,
            target_version: doc.target.version,
            context: &doc.target.context,
            risk_level: doc.risk,
            tier: doc.tier,
            constraints: &doc.constraints,
            verification: &doc.verification,
            policy_bundle: doc.policy_bundle,
            steps: doc.steps.iter().enumerate().map(step).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct StepView<'a> {
    step_id: String,
    ordinal: usize,
    stage: Stage,
    tool: &'a str,
    action: &'a str,
    input: &'a Args,
    reason: &'a str,
    risk_level: Risk,
    effect: EffectKind,
    guard: Guard,
    expected_prior: &'a BTreeMap<String, String>,
    preconditions: &'a [Assertion],
    rollback: &'a Inverse,
    evidence_required: &'a [String],
    timeout_secs: u32,
}

impl<'a> StepView<'a> {
    fn new(plan_id: PlanId, ordinal: usize, step: &'a Step) -> Self {
        Self {
            step_id: format!("{plan_id}/{ordinal}"),
            ordinal,
            stage: step.stage,
            tool: &step.tool,
            action: &step.action,
            input: &step.args,
            reason: &step.reason,
            risk_level: step.risk,
            effect: step.effect,
            guard: step.guard,
            expected_prior: &step.expected_prior,
            preconditions: &step.preconditions,
            rollback: &step.inverse,
            evidence_required: &step.evidence_required,
            timeout_secs: step.timeout_secs,
        }
    }
}

/// What is no plan yet says what it lacks.
#[derive(Debug, Serialize)]
struct DraftView<'a> {
    trigger: Trigger,
    summary: &'a str,
    intent: Option<&'a str>,
    target: &'a str,
    risk_level: Risk,
    lacks: Option<&'a str>,
    /// Nothing that could run.
    steps: [(); 0],
    proposed_steps: &'a [StepRequest],
}

impl<'a> DraftView<'a> {
    fn new(draft: &'a Draft) -> Self {
        Self {
            trigger: draft.trigger,
            summary: &draft.summary,
            intent: draft.intent.as_deref(),
            target: &draft.target,
            risk_level: Risk::Read,
            lacks: draft.lacks.as_deref(),
            steps: [],
            proposed_steps: &draft.steps,
        }
    }
}
