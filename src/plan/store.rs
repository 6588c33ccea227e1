//! Plans as rows: the bytes that count, and columns for search that nothing executes from.

use serde_json::json;

use super::{Checked, Content, Draft, Filter, ListedPlan, PlanStatus, Rejected, Stored};
use crate::{
    audit,
    domain::{
        ActorKind, CanonicalError, Digest, IncidentId, OpCtx, PlanId, Risk, Target, TargetId, canonical,
        plan::{self, PlanDoc, Requester},
    },
    policy,
    store::{self, Tx},
};

/// Version of stored drafts: never that of a plan, so that no draft can be opened as one.
const DRAFT_VERSION: i16 = 0;
const DRAFT_TAG: &str = "carapulse.plan_draft";

/// What can go wrong with stored plans.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database, or bytes that do not fit their digest.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The decision could not be kept.
    #[error(transparent)]
    Policy(#[from] policy::store::Error),
    /// A draft has no canonical form.
    #[error("the draft cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
    /// No such change of status.
    #[error("a plan that is {from} cannot become {to}")]
    Transition {
        /// The status it would leave.
        from: &'static str,
        /// The status it would take.
        to: &'static str,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Who asks, with the owner of the token that was used: neither may approve.
pub async fn requester(tx: &mut Tx, ctx: &OpCtx) -> Result<Requester, Error> {
    let actor = &ctx.actor;
    let owner = match (actor.kind, actor.token_id) {
        (ActorKind::System, _) | (_, None) => None,
        (_, Some(token)) => sqlx::query_scalar!(
            "SELECT owner_person_id FROM token WHERE token_id = $1",
            token.uuid()
        )
        .fetch_optional(&mut **tx)
        .await?
        .flatten(),
    };
    Ok(Requester {
        name: super::draft::clean(&actor.name, 200),
        person_id: actor.person_id,
        identity_id: actor.identity_id,
        token_owner_person_id: owner.map(Into::into),
    })
}

/// The registered place of this name in the transaction's tenant.
pub async fn find_target(tx: &mut Tx, name: &str) -> Result<Option<Target>, Error> {
    let row = sqlx::query!(
        "SELECT target_id, doc FROM target WHERE tenant_id = current_tenant() AND name = $1",
        name
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let target: Target = canonical::from_bytes(&row.doc)
            .map_err(|error| store::Error::Corrupt(format!("target `{name}`: {error}")))?;
        if target.target_id.uuid() != row.target_id || target.name != name {
            return Err(store::Error::Corrupt(format!("target `{name}` names another")).into());
        }
        Ok(target)
    })
    .transpose()
}

/// Stores a plan, its display rows, the policy decision and the audit event.
pub async fn insert(tx: &mut Tx, ctx: &OpCtx, checked: &Checked) -> Result<PlanId, Error> {
    let doc = checked.doc();
    let status = if checked.needs_approval() {
        PlanStatus::PendingApproval
    } else {
        PlanStatus::Approved
    };
    let ordinals: Vec<i32> = (0..).take(doc.steps.len()).collect();
    let column = |of: fn(&plan::Step) -> &str| {
        doc.steps
            .iter()
            .map(|step| of(step).to_owned())
            .collect::<Vec<_>>()
    };
    let digest = checked.digest();
    let (stages, tools) = (column(|step| step.stage.as_str()), column(|step| &step.tool));
    let (actions, risks) = (column(|step| &step.action), column(|step| step.risk.as_str()));
    sqlx::query!(
        r#"WITH inserted AS (
             INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, intent, risk_level,
               target_name, incident_id, requester_person_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, db_now(), db_now())
           )
           INSERT INTO plan_step (plan_id, ordinal, tenant_id, stage, tool, action, risk_level)
           SELECT $1, step.* FROM (
             SELECT ordinal, $2, stage, tool, action, risk
             FROM unnest($14::integer[], $15::text[], $16::text[], $17::text[], $18::text[]) AS s (ordinal, stage, tool, action, risk)
           ) AS step"#,
        doc.plan_id.uuid(),
        doc.tenant_id.as_str(),
        status.as_str(),
        i16::try_from(plan::VERSION).unwrap_or(i16::MAX),
        checked.bytes(),
        &digest.as_bytes()[..],
        doc.trigger.as_str(),
        doc.summary,
        doc.intent.as_deref(),
        doc.risk.as_str(),
        doc.target.name,
        doc.incident_id.map(IncidentId::uuid),
        doc.requester.person_id.map(crate::domain::PersonId::uuid),
        &ordinals,
        &stages,
        &tools,
        &actions,
        &risks,
    )
    .execute(&mut **tx)
    .await?;
    let (input, decision) = (checked.input(), checked.decision());
    policy::store::insert_decision(tx, ctx, input, decision, Some(doc.plan_id), None, None).await?;
    let details = json!({
        "digest": checked.digest(),
        "status": status,
        "target": doc.target.name,
        "risk": doc.risk,
        "tier": doc.tier,
        "steps": doc.steps.len(),
        "policy_bundle": decision.bundle,
        "policy": decision.decision,
    });
    let outcome = match decision.decision {
        policy::Outcome::Allow => audit::Decision::Allow,
        _ => audit::Decision::RequireApproval,
    };
    let event = audit::Event::new("plan.create", details)
        .decision(outcome)
        .plan(doc.plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(doc.plan_id)
}

/// Stores a draft that is no plan: it says what it lacks and is never executable.
pub async fn insert_draft(tx: &mut Tx, ctx: &OpCtx, draft: &Draft) -> Result<PlanId, Error> {
    let bytes = canonical::to_bytes(draft)?;
    let digest = draft_digest(&bytes);
    let lacks = draft.lacks.as_deref().unwrap_or("checks");
    sqlx::query!(
        "INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, intent, risk_level,
           target_name, incident_id, requester_person_id, lacks, created_at, updated_at)
         VALUES ($1, $2, 'draft', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, db_now(), db_now())",
        draft.plan_id.uuid(),
        draft.tenant_id.as_str(),
        DRAFT_VERSION,
        bytes,
        &digest.as_bytes()[..],
        draft.trigger.as_str(),
        draft.summary,
        draft.intent.as_deref(),
        Risk::Read.as_str(),
        draft.target,
        draft.incident_id.map(IncidentId::uuid),
        draft.requester.person_id.map(crate::domain::PersonId::uuid),
        lacks,
    )
    .execute(&mut **tx)
    .await?;
    let details = json!({ "digest": digest, "status": PlanStatus::Draft, "lacks": lacks });
    let event = audit::Event::new("plan.create", details).plan(draft.plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(draft.plan_id)
}

/// Records that a draft was refused, with policy's answer when it came to that.
pub async fn record_refusal(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    rejected: &Rejected,
) -> Result<(), Error> {
    if let Some((input, decision)) = rejected.decided.as_deref() {
        policy::store::insert_decision(tx, ctx, input, decision, Some(plan_id), None, None).await?;
    }
    let codes: Vec<_> = rejected.problems.iter().map(|problem| &problem.code).collect();
    let event = audit::Event::new("plan.refuse", json!({ "codes": codes }))
        .decision(audit::Decision::Deny)
        .plan(plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(())
}

/// A plan by id: its bytes, digested again. Bytes that do not fit are corrupt, and nothing is made of them.
pub async fn get(tx: &mut Tx, plan_id: PlanId) -> Result<Stored, Error> {
    read(tx, plan_id, false).await
}

/// As [`get`], and nobody else changes its status until the transaction ends.
pub async fn lock(tx: &mut Tx, plan_id: PlanId) -> Result<Stored, Error> {
    read(tx, plan_id, true).await
}

/// Locks a plan and says where it stands, without a look at its bytes: a plan that is corrupt can still be closed.
pub async fn lock_status(tx: &mut Tx, plan_id: PlanId) -> Result<PlanStatus, Error> {
    let status = sqlx::query_scalar!(
        "SELECT status FROM plan WHERE tenant_id = current_tenant() AND plan_id = $1 FOR UPDATE",
        plan_id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(status.parse()?)
}

async fn read(tx: &mut Tx, plan_id: PlanId, lock: bool) -> Result<Stored, Error> {
    if lock {
        lock_status(tx, plan_id).await?;
    }
    let row = sqlx::query!(
        "SELECT status, doc_version, doc, digest, created_at, updated_at FROM plan
         WHERE tenant_id = current_tenant() AND plan_id = $1",
        plan_id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    let status: PlanStatus = row.status.parse()?;
    let corrupt = |why: &str| store::Error::Corrupt(format!("{plan_id}: {why}"));
    let stored = Digest::from_slice(&row.digest).ok_or_else(|| corrupt("the digest has no 32 bytes"))?;
    let tenant = tx.tenant().cloned();
    let (content, digest) = if row.doc_version == DRAFT_VERSION {
        let draft: Draft = canonical::from_bytes(&row.doc).map_err(|e| corrupt(&e.to_string()))?;
        let own = draft.plan_id == plan_id && Some(&draft.tenant_id) == tenant.as_ref();
        let own = own
            && matches!(
                status,
                PlanStatus::Draft | PlanStatus::Superseded | PlanStatus::Denied
            );
        (
            own.then(|| Content::Draft(Box::new(draft))),
            draft_digest(&row.doc),
        )
    } else if row.doc_version == i16::try_from(plan::VERSION).unwrap_or(i16::MAX) {
        let doc = PlanDoc::open(&row.doc).map_err(|e| corrupt(&e.to_string()))?;
        let own =
            doc.plan_id == plan_id && Some(&doc.tenant_id) == tenant.as_ref() && status != PlanStatus::Draft;
        (
            own.then(|| Content::Plan(Box::new(doc))),
            plan::digest_of(&row.doc),
        )
    } else {
        return Err(corrupt("it is of another version: make the plan again").into());
    };
    if digest != stored {
        return Err(corrupt("the bytes do not fit the digest").into());
    }
    Ok(Stored {
        plan_id,
        status,
        content: content.ok_or_else(|| corrupt("the bytes are of another plan"))?,
        digest,
        bytes: row.doc,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

struct ListRow {
    plan_id: uuid::Uuid,
    status: String,
    summary: String,
    trigger: String,
    risk_level: String,
    target_name: Option<String>,
    incident_id: Option<uuid::Uuid>,
    digest: Vec<u8>,
    lacks: Option<String>,
    created_at: chrono::DateTime<chrono::Utc>,
}

/// One statement for each leading condition, so that each walks its own index and stops after `limit` rows: a prepared
/// statement's plan is made for any values, and one that held for all of these filters would read every plan. With the one
/// value of the filter in the order, no other index can be taken for a good one.
macro_rules! list_by {
    ($tx:expr, $f:expr, $lead:literal, $order:literal) => {
        sqlx::query_as!(
            ListRow,
            "SELECT plan_id, status, summary, trigger, risk_level, target_name, incident_id, digest, lacks, created_at FROM plan
             WHERE tenant_id = current_tenant()
               AND ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR target_name = $2)
               AND ($3::uuid IS NULL OR incident_id = $3)
               AND " + $lead + " ORDER BY " + $order + " LIMIT $5",
            $f.status.map(PlanStatus::as_str),
            $f.target.as_deref(),
            $f.incident_id.map(IncidentId::uuid),
            $f.before.map_or(uuid::Uuid::max(), PlanId::uuid),
            i64::from($f.limit.clamp(1, 200)),
        )
        .fetch_all(&mut **$tx)
        .await?
    };
}

/// A page of plans, newest first.
pub async fn list(tx: &mut Tx, filter: &Filter) -> Result<Vec<ListedPlan>, Error> {
    let rows = match (filter.incident_id, filter.status, &filter.target) {
        (Some(_), _, _) => list_by!(tx, filter, "incident_id = $3 AND plan_id < $4", "plan_id DESC"),
        (None, Some(_), _) => list_by!(
            tx,
            filter,
            "(status, plan_id) < ($1, $4) AND status >= $1",
            "status DESC, plan_id DESC"
        ),
        (None, None, Some(_)) => list_by!(
            tx,
            filter,
            "(target_name, plan_id) < ($2, $4) AND target_name >= $2",
            "target_name DESC, plan_id DESC"
        ),
        (None, None, None) => list_by!(tx, filter, "plan_id < $4", "plan_id DESC"),
    };
    rows.into_iter()
        .map(|row| {
            let digest = Digest::from_slice(&row.digest);
            Ok(ListedPlan {
                plan_id: row.plan_id.into(),
                status: row.status.parse()?,
                summary: row.summary,
                trigger: row.trigger,
                risk_level: row.risk_level,
                target: row.target_name,
                incident_id: row.incident_id.map(Into::into),
                digest: digest.ok_or_else(|| store::Error::Corrupt("plan.digest".to_owned()))?,
                lacks: row.lacks,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// Moves a plan from one status to another, if it is still there and such a move exists. Audited.
pub async fn update_status(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    from: PlanStatus,
    to: PlanStatus,
) -> Result<(), Error> {
    if !from.may_become(to) {
        return Err(Error::Transition {
            from: from.as_str(),
            to: to.as_str(),
        });
    }
    let updated = sqlx::query!(
        "UPDATE plan SET status = $3, updated_at = db_now()
         WHERE tenant_id = current_tenant() AND plan_id = $1 AND status = $2",
        plan_id.uuid(),
        from.as_str(),
        to.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    if updated.rows_affected() == 0 {
        let constraint = "plan_status".to_owned();
        return Err(store::Error::Conflict { constraint }.into());
    }
    let event = audit::Event::new("plan.status", json!({ "from": from, "to": to })).plan(plan_id);
    audit::record(tx, ctx, event).await?;
    Ok(())
}

/// Plans of the incident, other than `keep`, that still wait: `keep` takes their place. Returns which.
pub async fn supersede_older(
    tx: &mut Tx,
    ctx: &OpCtx,
    incident_id: IncidentId,
    keep: PlanId,
) -> Result<Vec<PlanId>, Error> {
    let rows = sqlx::query!(
        "SELECT plan_id, status FROM plan
         WHERE tenant_id = current_tenant() AND incident_id = $1 AND plan_id <> $2
           AND status IN ('draft', 'pending_approval', 'approved')
         ORDER BY plan_id FOR UPDATE",
        incident_id.uuid(),
        keep.uuid(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut superseded = Vec::new();
    for row in rows {
        let plan_id = PlanId::from_uuid(row.plan_id);
        update_status(tx, ctx, plan_id, row.status.parse()?, PlanStatus::Superseded).await?;
        superseded.push(plan_id);
    }
    Ok(superseded)
}

/// What the brake counts.
pub(super) struct Automatic {
    pub(super) plans_of_group: i64,
    pub(super) plans: i64,
    pub(super) failures: i64,
    pub(super) last_failed: bool,
}

/// Counts plans that nobody asked for, and executions that did not succeed, within the window.
pub(super) async fn automatic(
    tx: &mut Tx,
    target: TargetId,
    group_key: &str,
    window_secs: i64,
) -> Result<Automatic, store::Error> {
    let row = sqlx::query!(
        r#"WITH recent AS (
             SELECT p.plan_id, p.incident_id FROM plan p
             WHERE p.tenant_id = current_tenant() AND p.trigger IN ('alert', 'webhook', 'scheduled') AND p.status <> 'draft'
               AND p.created_at > db_now() - make_interval(secs => $3::bigint)
           ), grouped AS (
             SELECT p.plan_id FROM plan p JOIN incident i ON i.incident_id = p.incident_id
             WHERE p.tenant_id = current_tenant() AND i.tenant_id = current_tenant()
               AND i.group_key = $1 AND i.target_id = $2 AND p.status <> 'draft'
           )
           SELECT
             (SELECT count(*) FROM recent) AS "plans!",
             (SELECT count(*) FROM recent JOIN grouped USING (plan_id)) AS "plans_of_group!",
             (SELECT count(*) FROM execution e WHERE e.tenant_id = current_tenant()
                AND e.status IN ('failed', 'rolled_back', 'rollback_failed', 'needs_attention')
                AND e.created_at > db_now() - make_interval(secs => $3::bigint)) AS "failures!",
             coalesce((SELECT e.status NOT IN ('succeeded', 'pending', 'running') FROM execution e JOIN grouped USING (plan_id)
                WHERE e.tenant_id = current_tenant() AND e.created_at > db_now() - make_interval(secs => $3::bigint)
                ORDER BY e.created_at DESC, e.execution_id DESC LIMIT 1), false) AS "last_failed!""#,
        group_key,
        target.uuid(),
        window_secs,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Automatic {
        plans_of_group: row.plans_of_group,
        plans: row.plans,
        failures: row.failures,
        last_failed: row.last_failed,
    })
}

fn draft_digest(bytes: &[u8]) -> Digest {
    Digest::of(DRAFT_TAG, plan::VERSION, bytes)
}
