//! Plans as rows: the bytes that count, and columns for search that nothing executes from.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Checked, Content, Draft, Filter, ListedPlan, PlanStatus, Rejected, Stored};
use crate::{
    audit,
    domain::{
        CanonicalError, Digest, IncidentId, OpCtx, PersonId, PlanId, Risk, Target, TenantId, canonical,
        plan::{self, PlanDoc, Requester},
    },
    policy::{self, store::DecisionRow},
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
#[must_use]
pub fn requester(ctx: &OpCtx, token_owner: Option<PersonId>) -> Requester {
    let actor = &ctx.actor;
    Requester {
        name: super::draft::clean(&actor.name, 200),
        person_id: actor.person_id,
        identity_id: actor.identity_id,
        token_owner_person_id: token_owner,
    }
}

/// The registered place of this name in the transaction's tenant.
pub async fn find_target(tx: &mut Tx, name: &str) -> Result<Option<Target>, Error> {
    Ok(find_place(tx, name).await?.0)
}

/// The registered place of this name in the transaction's tenant, and whether the installation is frozen: both are asked before
/// every plan.
pub async fn find_place(tx: &mut Tx, name: &str) -> Result<(Option<Target>, bool), Error> {
    let row = sqlx::query!(
        r#"SELECT i.frozen, t.target_id AS "target_id?", t.doc AS "doc?" FROM installation i
           LEFT JOIN target t ON t.tenant_id = current_tenant() AND t.name = $1"#,
        name
    )
    .fetch_one(&mut **tx)
    .await?;
    let corrupt = |why: &str| store::Error::Corrupt(format!("target `{name}` {why}"));
    let target = match (row.target_id, row.doc) {
        (Some(target_id), Some(doc)) => {
            let target: Target = canonical::from_bytes(&doc).map_err(|e| corrupt(&e.to_string()))?;
            if target.target_id.uuid() != target_id || target.name != name {
                return Err(corrupt("names another").into());
            }
            Some(target)
        }
        _ => None,
    };
    Ok((target, row.frozen))
}

/// Stores a plan, its display rows, the policy decision and the audit event in one statement. Answers what [`get`] would.
pub async fn insert(tx: &mut Tx, ctx: &OpCtx, checked: &Checked) -> Result<Stored, Error> {
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
    let decision = DecisionRow::new(ctx, checked.input(), checked.decision(), doc.plan_id, None)?;
    let event = audit::row(tx, ctx, &created_event(checked, status))?;
    let created_at = sqlx::query_scalar!(
        r#"WITH made AS (
             INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, intent, risk_level,
               target_name, incident_id, requester_person_id, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, now.at, now.at FROM (SELECT db_now() AS at) AS now
             RETURNING created_at, keep_decision($19) AS kept, record_event($20) AS recorded
           ), steps AS (
             INSERT INTO plan_step (plan_id, ordinal, tenant_id, stage, tool, action, risk_level)
             SELECT $1, step.* FROM (
               SELECT ordinal, $2, stage, tool, action, risk
               FROM unnest($14::integer[], $15::text[], $16::text[], $17::text[], $18::text[]) AS s (ordinal, stage, tool, action, risk)
             ) AS step
           )
           SELECT created_at FROM made"#,
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
        doc.requester.person_id.map(PersonId::uuid),
        &ordinals,
        &stages,
        &tools,
        &actions,
        &risks,
        decision as _,
        event as _,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Stored {
        plan_id: doc.plan_id,
        status,
        content: Content::Plan(Box::new(doc.clone())),
        digest,
        bytes: checked.bytes().to_vec(),
        created_at,
        updated_at: created_at,
    })
}

fn created_event(checked: &Checked, status: PlanStatus) -> audit::Event {
    let (doc, decision) = (checked.doc(), checked.decision());
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
    audit::Event::new("plan.create", details)
        .decision(outcome)
        .plan(doc.plan_id)
}

/// Stores a draft that is no plan: it says what it lacks and is never executable. Answers what [`get`] would.
pub async fn insert_draft(tx: &mut Tx, ctx: &OpCtx, draft: &Draft) -> Result<Stored, Error> {
    let bytes = canonical::to_bytes(draft)?;
    let digest = draft_digest(&bytes);
    let (status, lacks) = (PlanStatus::Draft, draft.lacks.as_deref().unwrap_or("checks"));
    let details = json!({ "digest": digest, "status": status, "lacks": lacks });
    let event = audit::row(
        tx,
        ctx,
        &audit::Event::new("plan.create", details).plan(draft.plan_id),
    )?;
    let created_at = sqlx::query_scalar!(
        r#"WITH made AS (
             INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, intent, risk_level,
               target_name, incident_id, requester_person_id, lacks, created_at, updated_at)
             SELECT $1, $2, $14, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, now.at, now.at FROM (SELECT db_now() AS at) AS now
             RETURNING created_at, record_event($15) AS recorded
           )
           SELECT created_at FROM made"#,
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
        draft.requester.person_id.map(PersonId::uuid),
        lacks,
        status.as_str(),
        event as _,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Stored {
        plan_id: draft.plan_id,
        status,
        content: Content::Draft(Box::new(draft.clone())),
        digest,
        bytes,
        created_at,
        updated_at: created_at,
    })
}

/// Records that a draft was refused, with policy's answer when it came to that.
pub async fn record_refusal(
    tx: &mut Tx,
    ctx: &OpCtx,
    plan_id: PlanId,
    rejected: &Rejected,
) -> Result<(), Error> {
    if let Some((input, decision)) = rejected.decided.as_deref() {
        let row = DecisionRow::new(ctx, input, decision, plan_id, None)?;
        policy::store::insert_decision(tx, row).await?;
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
    let row = sqlx::query_as!(
        PlanRow,
        "SELECT status, doc_version, doc, digest, created_at, updated_at FROM plan
         WHERE tenant_id = current_tenant() AND plan_id = $1",
        plan_id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    row.open(plan_id, tx.tenant())
}

/// A plan's row as it lies there.
pub(crate) struct PlanRow {
    pub(crate) status: String,
    pub(crate) doc_version: i16,
    pub(crate) doc: Vec<u8>,
    pub(crate) digest: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl PlanRow {
    /// Reads the bytes, and digests them again. `tenant` is that of the transaction.
    pub(crate) fn open(self, plan_id: PlanId, tenant: Option<&TenantId>) -> Result<Stored, Error> {
        use PlanStatus::{Denied, Draft as Drafted, Superseded};
        let corrupt = |why: &str| store::Error::Corrupt(format!("{plan_id}: {why}"));
        let status: PlanStatus = self.status.parse()?;
        let stored = Digest::from_slice(&self.digest).ok_or_else(|| corrupt("the digest has no 32 bytes"))?;
        let (content, digest) = if self.doc_version == DRAFT_VERSION {
            let draft: Draft = canonical::from_bytes(&self.doc).map_err(|e| corrupt(&e.to_string()))?;
            let own = draft.plan_id == plan_id
                && Some(&draft.tenant_id) == tenant
                && matches!(status, Drafted | Superseded | Denied);
            let content = own.then(|| Content::Draft(Box::new(draft)));
            (content, draft_digest(&self.doc))
        } else if self.doc_version == i16::try_from(plan::VERSION).unwrap_or(i16::MAX) {
            let doc = PlanDoc::open(&self.doc).map_err(|e| corrupt(&e.to_string()))?;
            let own = doc.plan_id == plan_id && Some(&doc.tenant_id) == tenant && status != Drafted;
            let content = own.then(|| Content::Plan(Box::new(doc)));
            (content, plan::digest_of(&self.doc))
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
            bytes: self.doc,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
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
    created_at: DateTime<Utc>,
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
            i64::from($f.limit.clamp(1, 201)),
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

fn draft_digest(bytes: &[u8]) -> Digest {
    Digest::of(DRAFT_TAG, plan::VERSION, bytes)
}
