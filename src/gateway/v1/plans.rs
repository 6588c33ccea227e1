//! `/v1/plans`: what is to be done, as typed steps or as an intent; read, compared, executed.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    plan_view::{self, PlanView},
    proposing::{self, Wish},
    store,
};
use crate::{
    approval,
    domain::{ApprovalId, IncidentId, OpCtx, PlanId, TargetMode, plan::Trigger},
    execution,
    gateway::{
        Gateway,
        access::{Caller, Proposer},
        idempotency::{Claimed, IdempotencyKey, claim},
        opened::Opened,
        page::{Id, PageOf, Params},
        problem::{Kind, Problem},
        refusals::refused,
        strict::{self, Strict},
    },
    plan::{
        self, AssertionRequest, Content, Filter, Intent, Limits, PlanStatus, StepRequest, Timing, What,
        store as plans,
    },
    store::{Tx, crash},
};

/// What a client asks for. Either `intent` or `steps`; the place by `target`, or by a `context` that fits exactly one target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Create {
    #[serde(default)]
    summary: Option<String>,
    /// Old clients say `manual` here; a request through this API is nothing else.
    #[serde(default)]
    trigger: Option<Trigger>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    context: Option<proposing::Context>,
    #[serde(default)]
    intent: Option<Value>,
    #[serde(default)]
    constraints: Limits,
    #[serde(default)]
    steps: Vec<StepRequest>,
    #[serde(default)]
    assertions: Vec<AssertionRequest>,
    #[serde(default)]
    verification: Timing,
}

/// Filters and page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    status: Option<PlanStatus>,
    target: Option<String>,
    incident_id: Option<IncidentId>,
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
}

/// `{"plan_id"?, "approval_token"?}`: old clients send both; the token is an approval's id, and must then be the one consumed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Execute {
    #[serde(default)]
    plan_id: Option<PlanId>,
    #[serde(default)]
    approval_token: Option<ApprovalId>,
}

/// `POST /v1/plans`.
pub(in crate::gateway) async fn create(
    State(gateway): State<Gateway>,
    proposer: Proposer,
    key: IdempotencyKey,
    body: Strict<Create>,
) -> Result<Response, Problem> {
    let Strict { value: create, raw } = body;
    if create.trigger.is_some_and(|trigger| trigger != Trigger::Manual) {
        let detail = "a plan that is asked for here has the trigger `manual`";
        return Err(Problem::new(Kind::InvalidValue, detail).at("/trigger", detail));
    }
    let what = what(create.intent, create.steps)?;
    let wish = Wish {
        route: "POST /v1/plans",
        trigger: Trigger::Manual,
        target: create.target,
        context: create.context,
        summary: create.summary,
        what,
        assertions: create.assertions,
        timing: create.verification,
        limits: create.constraints,
    };
    proposing::create(&gateway, proposer, key, &raw, wish).await
}

/// `GET /v1/plans`: newest first.
pub(in crate::gateway) async fn list(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let filters = format!("{:?} {:?} {:?}", query.status, query.target, query.incident_id);
    let page = PageOf::new(
        &gateway,
        &ctx,
        "plans",
        filters,
        (query.limit, query.cursor.as_deref(), query.offset),
    )?;
    let mut tx = opened.tx(&gateway, &ctx).await?;
    if let Some(offset) = page.offset {
        let status = query.status.map(PlanStatus::as_str);
        let counted = store::count_plans(&mut tx, status, query.target.as_deref(), query.incident_id).await?;
        let before = store::nth_plan(
            &mut tx,
            status,
            query.target.as_deref(),
            query.incident_id,
            offset,
        )
        .await?;
        let rows = match before {
            Some(before) => listed(&mut tx, &query, before.before(), page.limit).await?,
            None => Vec::new(),
        };
        tx.finish_read();
        return Ok(page.offset_answer(&rows, counted));
    }
    let rows = listed(&mut tx, &query, page.after()?, page.limit + 1).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.plan_id.to_string()))
}

async fn listed(
    tx: &mut Tx,
    query: &Query,
    before: Option<PlanId>,
    limit: i64,
) -> Result<Vec<plan::ListedPlan>, Problem> {
    let filter = Filter {
        status: query.status,
        target: query.target.clone(),
        incident_id: query.incident_id,
        before,
        limit: u32::try_from(limit).unwrap_or(200),
    };
    Ok(plans::list(tx, &filter).await?)
}

/// `GET /v1/plans/{id}`: the whole plan, its digest and its approvals.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<PlanId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let (stored, approvals) = approval::store::plan_with_requests(&mut tx, id).await?;
    tx.finish_read();
    Ok(Json(PlanView::new(&stored, &approvals)).into_response())
}

/// `GET /v1/plans/{id}/diff`: each step as before → after.
pub(in crate::gateway) async fn diff(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<PlanId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let stored = plans::get(&mut tx, id).await?;
    tx.finish_read();
    let changes = stored.doc().map(plan::diff).unwrap_or_default();
    let targets = changes.iter().filter(|line| line.writes).count();
    Ok(
        Json(json!({"plan_id": id, "digest": stored.digest, "changes": changes, "targets": targets}))
            .into_response(),
    )
}

/// `GET /v1/plans/{id}/risk`: what is at stake.
pub(in crate::gateway) async fn risk(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Id(id): Id<PlanId>,
) -> Result<Response, Problem> {
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let stored = plans::get(&mut tx, id).await?;
    tx.finish_read();
    let Some(doc) = stored.doc() else {
        return Err(Problem::new(
            Kind::Conflict,
            "a draft has no risk yet: it lacks what `GET /v1/plans/{id}` says",
        ));
    };
    Ok(Json(plan_view::risk(doc)).into_response())
}

/// `POST /v1/plans/{id}:execute`: consumes the approval and creates the execution, in one transaction.
pub(in crate::gateway) async fn execute(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<PlanId>,
    key: IdempotencyKey,
    raw: Bytes,
) -> Result<Response, Problem> {
    let body: Execute = if raw.is_empty() {
        Execute::default()
    } else {
        strict::parse(&raw)?
    };
    if body.plan_id.is_some_and(|named| named != id) {
        return Err(
            Problem::new(Kind::InvalidValue, "`plan_id` is not the plan of the path")
                .at("/plan_id", "another plan"),
        );
    }
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let claimed = claim(
        &mut tx,
        &ctx,
        key,
        "POST /v1/plans/{id}:execute",
        &id.to_string(),
        &raw,
    )
    .await?;
    let claim = match claimed {
        Claimed::Replay(answer) => return Ok(answer),
        Claimed::Fresh(claim) => claim,
    };
    let execution_id = match start(&gateway, &ctx, &mut tx, id, body.approval_token).await {
        Ok(execution_id) => execution_id,
        Err(Start::Problem(problem)) => return Err(problem),
        Err(Start::Refused(error)) => {
            tx.rollback().await?;
            return Err(refused(&gateway, &ctx, "execution.refuse", id, error).await);
        }
    };
    let answer = json!({"execution_id": execution_id, "plan_id": id, "status": "pending"});
    claim.settle(&mut tx, &ctx, StatusCode::CREATED, &answer).await?;
    crash::point("gateway.before_execute");
    tx.commit().await?;
    crash::point("gateway.after_execute");
    let location = [(header::LOCATION, format!("/v1/executions/{execution_id}"))];
    Ok((StatusCode::CREATED, location, Json(answer)).into_response())
}

/// Why a plan was not started.
enum Start {
    /// A rule of approving says no: this is audited.
    Refused(approval::Error),
    /// Anything else.
    Problem(Problem),
}

impl From<approval::Error> for Start {
    fn from(error: approval::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Problem> for Start {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn start(
    gateway: &Gateway,
    ctx: &OpCtx,
    tx: &mut Tx,
    id: PlanId,
    token: Option<ApprovalId>,
) -> Result<crate::domain::ExecutionId, Start> {
    let stored = plans::get(tx, id).await.map_err(approval::Error::from)?;
    if let Content::Draft(draft) = &stored.content {
        let lacks = draft.lacks.as_deref().unwrap_or("checks");
        return Err(Problem::new(
            Kind::Conflict,
            format!("the plan is a draft and is never executed; it lacks: {lacks}"),
        )
        .into());
    }
    let approved = approval::consume(tx, ctx, id, &gateway.approval_keys.get()).await?;
    if token.is_some() && token != approved.approval_id() {
        let detail = "`approval_token` is not the approval that this plan has";
        return Err(Problem::new(Kind::ApprovalRefused, detail)
            .at("/approval_token", detail)
            .into());
    }
    if approved.doc().writes().next().is_some() {
        may_act(tx, &approved.doc().target.name, approved.doc().target.version).await?;
    }
    Ok(execution::start(tx, ctx, &approved)
        .await
        .map_err(Problem::from)?)
}

/// The reasons that would stop the first act anyway, said now.
async fn may_act(tx: &mut Tx, name: &str, version: i64) -> Result<(), Problem> {
    let (frozen, reason) = store::get_freeze(tx).await?;
    if frozen {
        return Err(Problem::new(
            Kind::Frozen,
            format!("the installation is frozen ({reason}); an admin lifts it with `carapulse unfreeze`"),
        ));
    }
    let target = plans::find_target(tx, name).await?;
    let Some(target) = target else {
        return Err(Problem::new(
            Kind::UnknownTarget,
            format!("the target `{name}` is gone"),
        ));
    };
    if target.mode != TargetMode::Act {
        let detail =
            format!("target `{name}` is not in mode `act`; change it with `carapulse target propose`");
        return Err(Problem::new(Kind::TargetMode, detail));
    }
    if target.version != version {
        let detail = format!("target `{name}` has changed since the plan was checked; make the plan again");
        return Err(Problem::new(Kind::Conflict, detail));
    }
    Ok(())
}

fn what(intent: Option<Value>, steps: Vec<StepRequest>) -> Result<What, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Kind::InvalidValue, detail).at("/intent", detail));
    match (intent, steps.is_empty()) {
        (Some(_), false) => invalid("give either `intent` or `steps`, not both"),
        (None, true) => invalid("give `intent` or `steps`"),
        (None, false) => Ok(What::Steps(steps)),
        (Some(Value::String(text)), true) if text.trim().is_empty() || text.len() > 2000 => {
            invalid("an intent has 1 to 2000 bytes")
        }
        (Some(Value::String(text)), true) => Ok(What::Text(text)),
        (Some(other), true) => match serde_json::from_value::<Intent>(other) {
            Ok(intent) => Ok(What::Intent(intent)),
            Err(error) => invalid(&format!(
                "an intent is a sentence, or an object of one kind: {error}"
            )),
        },
    }
}
