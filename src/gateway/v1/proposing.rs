//! From a wish to a stored plan: target, draft, check, rows, request for approval, answer.
//!
//! The reads that planning needs run between two transactions; the idempotency key is asked in both, so that a second request neither
//! reads again nor stores again.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{plan_view::PlanView, store};
use crate::{
    approval::{self, Approval},
    domain::{ContextRef, OpCtx, PlanId, Target, plan::Trigger},
    gateway::{
        Gateway,
        access::Proposer,
        idempotency::{Claimed, IdempotencyKey, claim},
        problem::{Kind, Problem},
        target,
    },
    plan::{
        self, AssertionRequest, Checks, Draft, Limits, Proposal, Rejected, Stored, Timing, What,
        store as plans,
    },
    policy::FlagsInput,
    store::Tx,
};

/// What somebody wants, whatever route it came by.
pub(super) struct Wish {
    pub(super) route: &'static str,
    pub(super) trigger: Trigger,
    pub(super) target: Option<String>,
    pub(super) context: Option<Context>,
    pub(super) summary: Option<String>,
    pub(super) what: What,
    pub(super) assertions: Vec<AssertionRequest>,
    pub(super) timing: Timing,
    pub(super) limits: Limits,
}

/// A place in the words of old clients; it must fit exactly one registered target.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::gateway) struct Context {
    target: String,
    tenant_id: String,
    environment: String,
    cluster_id: String,
    namespace: String,
    aws_account_id: String,
    region: String,
    argocd_project: String,
    grafana_org_id: String,
}

/// Drafts, checks and stores; 201 with the plan, which may be a draft that says what it lacks.
pub(super) async fn create(
    gateway: &Gateway,
    proposer: Proposer,
    key: IdempotencyKey,
    raw: &[u8],
    wish: Wish,
) -> Result<Response, Problem> {
    let route = wish.route;
    let ctx = &proposer.ctx;
    let mut tx = proposer.opened.tx(gateway, ctx).await?;
    if let Claimed::Replay(answer) = claim(&mut tx, ctx, key.clone(), route, "", raw).await? {
        return Ok(answer);
    }
    let (target, frozen) = resolve(&mut tx, &wish).await?;
    tx.finish_read();
    let requester = plans::requester(ctx, proposer.token_owner);

    let proposal = Proposal {
        summary: wish.summary,
        assertions: wish.assertions,
        timing: wish.timing,
        limits: wish.limits,
        ..Proposal::new(wish.trigger, requester, wish.what)
    };
    let reader = (gateway.reads)(ctx);
    let draft = plan::draft(ctx, &target, reader.as_ref(), proposal).await;
    let planned = match draft.lacks {
        Some(_) => Planned::Draft(Box::new(draft)),
        None => {
            let flags = FlagsInput {
                frozen,
                ..FlagsInput::default()
            };
            let checks = Checks {
                catalog: &gateway.catalog,
                engine: &gateway.engine,
                target: &target,
                reader: reader.as_ref(),
                flags,
                managed: BTreeMap::new(),
            };
            check(gateway, ctx, draft, &checks).await?
        }
    };

    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let claim = match claim(&mut tx, ctx, key, route, "", raw).await? {
        Claimed::Replay(answer) => return Ok(answer),
        Claimed::Fresh(claim) => claim,
    };
    let (stored, approvals) = insert(&mut tx, ctx, &planned).await?;
    let plan_id = stored.plan_id;
    let answer = json!({"plan_id": plan_id, "created_at": stored.created_at, "plan": PlanView::new(&stored, &approvals)});
    claim.settle(&mut tx, ctx, StatusCode::CREATED, &answer).await?;
    tx.commit().await?;
    Ok(created(plan_id, answer))
}

enum Planned {
    Draft(Box<Draft>),
    Checked(Box<plan::Checked>),
}

async fn check(
    gateway: &Gateway,
    ctx: &OpCtx,
    draft: Draft,
    checks: &Checks<'_>,
) -> Result<Planned, Problem> {
    let plan_id = draft.plan_id;
    match plan::check(ctx, draft, checks).await {
        Ok(checked) => Ok(Planned::Checked(Box::new(checked))),
        Err(rejected) => {
            let mut tx = gateway.db.begin(&ctx.tenant).await?;
            plans::record_refusal(&mut tx, ctx, plan_id, &rejected).await?;
            tx.commit().await?;
            Err(refusal(&rejected))
        }
    }
}

async fn insert(tx: &mut Tx, ctx: &OpCtx, planned: &Planned) -> Result<(Stored, Vec<Approval>), Problem> {
    match planned {
        Planned::Draft(draft) => Ok((plans::insert_draft(tx, ctx, draft).await?, Vec::new())),
        Planned::Checked(checked) => {
            let stored = plans::insert(tx, ctx, checked).await?;
            let mut approvals = Vec::new();
            if checked.needs_approval() {
                approvals.push(approval::request(tx, ctx, checked, stored.created_at).await?);
            }
            Ok((stored, approvals))
        }
    }
}

fn created(plan_id: PlanId, answer: Value) -> Response {
    let location = [(header::LOCATION, format!("/v1/plans/{plan_id}"))];
    (StatusCode::CREATED, location, Json(answer)).into_response()
}

/// The problem document of a rejected draft: one kind for the whole, every fault with its place.
fn refusal(rejected: &Rejected) -> Problem {
    let codes = || rejected.problems.iter().map(|problem| problem.code.as_str());
    let kind = match codes().next() {
        Some("unknown_action" | "unknown_read") => Kind::UnknownAction,
        Some("bad_argument") => Kind::InvalidArgument,
        Some("target_mode" | "target_observe" | "target_observes") => Kind::TargetMode,
        _ if rejected.decided.is_some() => Kind::PolicyDenied,
        _ => Kind::PlanRejected,
    };
    let lines: Vec<String> = rejected
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.code, problem.message))
        .collect();
    rejected
        .problems
        .iter()
        .fold(Problem::new(kind, lines.join("; ")), |problem, fault| {
            problem.at(
                fault.pointer.clone(),
                format!("{} ({})", fault.message, fault.code),
            )
        })
}

/// The place of the wish, and whether the installation is frozen.
async fn resolve(tx: &mut Tx, wish: &Wish) -> Result<(Target, bool), Problem> {
    let context = wish.context.as_ref();
    let named = wish.target.as_deref().or_else(|| {
        context
            .map(|context| context.target.as_str())
            .filter(|name| !name.is_empty())
    });
    if let Some(name) = named {
        let unknown = || {
            Problem::new(
                Kind::UnknownTarget,
                format!("no target `{name}`; `carapulse target list` shows those registered"),
            )
        };
        let (target, frozen) = plans::find_place(tx, name).await?;
        let target = target.ok_or_else(|| unknown().at("/target", "no such target"))?;
        return Ok((target, frozen));
    }
    let Some(context) = context else {
        return Err(Problem::new(Kind::MissingField, "name a registered `target`").at("/target", "missing"));
    };
    let (targets, _) = target::list(tx).await?;
    let mut fitting = targets.into_iter().filter(|target| context.fits(&target.context));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok((only, store::get_freeze(tx).await?.0)),
        (None, _) => Err(Problem::new(
            Kind::UnknownTarget,
            "no registered target fits this context; name a `target`",
        )),
        (Some(_), Some(_)) => Err(Problem::new(
            Kind::UnknownTarget,
            "more than one target fits this context; name a `target`",
        )),
    }
}

impl Context {
    fn fits(&self, place: &ContextRef) -> bool {
        let pairs = [
            (&self.tenant_id, &place.tenant_id),
            (&self.environment, &place.environment),
            (&self.cluster_id, &place.cluster_id),
            (&self.namespace, &place.namespace),
            (&self.aws_account_id, &place.aws_account_id),
            (&self.region, &place.region),
            (&self.argocd_project, &place.argocd_project),
            (&self.grafana_org_id, &place.grafana_org_id),
        ];
        pairs.iter().all(|(asked, has)| asked.is_empty() || asked == has)
    }
}
