//! The tables `execution`, `journal`, `execution_request`, `evidence` and `target_lease`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Error,
    list::Execution,
    machine::{Shape, State},
};
use crate::{
    domain::{
        ApprovalId, Digest, EvidenceId, ExecutionId, OpCtx, PlanId, TargetId,
        plan::{self, PlanDoc},
        run::JournalEvent,
    },
    store::Tx,
    verify::Judged,
};

/// A locked execution, as the engine needs it.
pub(super) struct Loaded {
    pub execution_id: ExecutionId,
    pub doc: PlanDoc,
    pub shape: Shape,
    pub state: State,
    pub journal_length: i64,
    pub started_at: Option<DateTime<Utc>>,
    pub verifying_since: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
    /// Why nothing acts forward now: `restored` (the execution is of another generation), `read_only` or `frozen`.
    pub stop_reason: Option<String>,
    /// Somebody has asked something of it that is not answered.
    pub asked: bool,
}

/// What a person asked of an execution.
pub(super) struct Request {
    pub request_id: Uuid,
    pub event: JournalEvent,
    pub by: String,
}

/// A new execution's row.
pub(super) struct New<'a> {
    pub execution_id: ExecutionId,
    pub plan_id: PlanId,
    pub approval_id: Option<ApprovalId>,
    pub state: &'a State,
    pub requested_by: &'a str,
}

pub(super) async fn insert(tx: &mut Tx, ctx: &OpCtx, new: &New<'_>) -> Result<(), Error> {
    let state = encode(new.state)?;
    sqlx::query!(
        "INSERT INTO execution (execution_id, tenant_id, plan_id, approval_id, status, generation, state, requested_by, created_at)
         SELECT $1, $2, $3, $4, 'pending', i.generation, $5, $6, db_now() FROM installation i",
        new.execution_id.uuid(),
        ctx.tenant.as_str(),
        new.plan_id.uuid(),
        new.approval_id.map(ApprovalId::uuid),
        state,
        new.requested_by,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Locks an execution under the lease's `epoch`; `None` when it is over or gone, an error when a newer epoch holds it.
pub(super) async fn lock(tx: &mut Tx, id: ExecutionId, epoch: i64) -> Result<Option<Loaded>, Error> {
    let row = sqlx::query!(
        r#"UPDATE execution e SET epoch = $2 FROM plan p
           WHERE e.execution_id = $1 AND e.epoch <= $2 AND e.completed_at IS NULL AND p.plan_id = e.plan_id
           RETURNING e.state, e.journal_length, e.started_at, e.verifying_since, p.doc, p.digest, db_now() AS "now!",
             (SELECT CASE WHEN e.generation <> i.generation THEN 'restored' WHEN i.read_only THEN 'read_only'
                WHEN i.frozen THEN 'frozen' END FROM installation i) AS stop_reason,
             EXISTS (SELECT 1 FROM execution_request r
               WHERE r.tenant_id = e.tenant_id AND r.execution_id = e.execution_id AND r.applied_at IS NULL) AS "asked!""#,
        id.uuid(),
        epoch,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else {
        return match over(tx, id).await? {
            true => Ok(None),
            false => Err(Error::LostLease),
        };
    };
    if Some(plan::digest_of(&row.doc)) != Digest::from_slice(&row.digest) {
        return Err(Error::PlanChanged(id));
    }
    let doc = PlanDoc::open(&row.doc).map_err(|_| Error::PlanChanged(id))?;
    Ok(Some(Loaded {
        execution_id: id,
        shape: Shape::of(&doc),
        doc,
        state: decode(&row.state)?,
        journal_length: row.journal_length,
        started_at: row.started_at,
        verifying_since: row.verifying_since,
        now: row.now,
        stop_reason: row.stop_reason,
        asked: row.asked,
    }))
}

async fn over(tx: &mut Tx, id: ExecutionId) -> Result<bool, Error> {
    let open = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM execution WHERE execution_id = $1 AND completed_at IS NULL) AS "open!""#,
        id.uuid(),
    );
    Ok(!open.fetch_one(&mut **tx).await?)
}

/// Appends `events` and stores the state that they lead to, in one statement, if `epoch` still holds the execution.
pub(super) async fn advance(
    tx: &mut Tx,
    loaded: &Loaded,
    epoch: i64,
    events: &[JournalEvent],
) -> Result<(), Error> {
    let bodies = events.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let state = encode(&loaded.state)?;
    let updated = sqlx::query_scalar!(
        r#"WITH moved AS (
             UPDATE execution SET status = $3, state = $4, journal_length = journal_length + cardinality($5::bytea[]),
               started_at = coalesce(started_at, CASE WHEN $3 <> 'pending' THEN db_now() END),
               verifying_since = coalesce(verifying_since, CASE WHEN $6 THEN db_now() END),
               completed_at = CASE WHEN $7 THEN db_now() END
             WHERE execution_id = $1 AND epoch = $2 AND journal_length = $8 RETURNING execution_id, tenant_id
           ), written AS (
             INSERT INTO journal (execution_id, seq, tenant_id, epoch, event, recorded_at)
             SELECT m.execution_id, $8 + e.ordinal - 1, m.tenant_id, $2, e.body, db_now()
             FROM moved m, unnest($5::bytea[]) WITH ORDINALITY AS e (body, ordinal)
           )
           SELECT count(*) AS "count!" FROM moved"#,
        loaded.execution_id.uuid(),
        epoch,
        loaded.state.status(),
        state,
        &bodies,
        loaded.state.phase == super::machine::Phase::Verifying,
        loaded.state.outcome.is_some(),
        loaded.journal_length,
    )
    .fetch_one(&mut **tx)
    .await?;
    if updated == 1 {
        Ok(())
    } else {
        Err(Error::LostLease)
    }
}

/// Ends an execution whose plan's bytes are no longer those that were approved: nothing can steer it any more.
pub(super) async fn fail_changed(tx: &mut Tx, id: ExecutionId, epoch: i64) -> Result<&'static str, Error> {
    let state = sqlx::query_scalar!("SELECT state FROM execution WHERE execution_id = $1", id.uuid());
    let state: State = decode(&state.fetch_one(&mut **tx).await?)?;
    let begun = state.steps.iter().any(|s| s.forward.attempt > 0);
    let status = if begun { "needs_attention" } else { "failed" };
    sqlx::query!(
        "UPDATE execution SET status = $3, completed_at = CASE WHEN $3 = 'failed' THEN db_now() END
         WHERE execution_id = $1 AND epoch <= $2 AND completed_at IS NULL",
        id.uuid(),
        epoch,
        status,
    )
    .execute(&mut **tx)
    .await?;
    Ok(status)
}

pub(super) async fn open_requests(tx: &mut Tx, id: ExecutionId) -> Result<Vec<Request>, Error> {
    let rows = sqlx::query!(
        "SELECT request_id, event, requested_by FROM execution_request
         WHERE execution_id = $1 AND applied_at IS NULL ORDER BY requested_at, request_id LIMIT 20",
        id.uuid(),
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let read = |row: Row| {
        Ok(Request {
            request_id: row.0,
            event: decode(&row.1)?,
            by: row.2,
        })
    };
    rows.into_iter()
        .map(|r| read((r.request_id, r.event, r.requested_by)))
        .collect()
}

type Row = (Uuid, Vec<u8>, String);

pub(super) async fn settle_request(
    tx: &mut Tx,
    request_id: Uuid,
    refused: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE execution_request SET applied_at = db_now(), refused = $2 WHERE request_id = $1",
        request_id,
        refused,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_request(
    tx: &mut Tx,
    ctx: &OpCtx,
    id: ExecutionId,
    event: &JournalEvent,
    note: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO execution_request (request_id, tenant_id, execution_id, event, note, requested_by, requested_at)
         VALUES ($1, $2, $3, $4, $5, $6, db_now())",
        ctx.id::<Uuid>(),
        ctx.tenant.as_str(),
        id.uuid(),
        encode(event)?,
        note,
        ctx.actor.name,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the target for this execution; false when another execution holds it.
pub(super) async fn take_target(tx: &mut Tx, id: ExecutionId, target: TargetId) -> Result<bool, Error> {
    let holder = sqlx::query_scalar!(
        "INSERT INTO target_lease (target_id, tenant_id, execution_id, taken_at)
         SELECT $2, tenant_id, execution_id, db_now() FROM execution WHERE execution_id = $1
         ON CONFLICT (target_id) DO NOTHING RETURNING execution_id",
        id.uuid(),
        target.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    if holder.is_some() {
        return Ok(true);
    }
    let mine = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM target_lease WHERE target_id = $2 AND execution_id = $1) AS "mine!""#,
        id.uuid(),
        target.uuid(),
    );
    Ok(mine.fetch_one(&mut **tx).await?)
}

pub(super) async fn release_targets(tx: &mut Tx, id: ExecutionId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM target_lease WHERE execution_id = $1", id.uuid())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn insert_evidence(
    tx: &mut Tx,
    ctx: &OpCtx,
    id: ExecutionId,
    judged: &[Judged],
) -> Result<(), Error> {
    for one in judged {
        let answer = match &one.answer {
            Ok(value) => serde_json::json!({ "answer": value }),
            Err(why) => serde_json::json!({ "unavailable": why }),
        };
        sqlx::query!(
            "INSERT INTO evidence (evidence_id, tenant_id, execution_id, assertion, type, query, verdict, body, collected_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, db_now())",
            ctx.id::<EvidenceId>().uuid(),
            ctx.tenant.as_str(),
            id.uuid(),
            one.name,
            one.evidence_kind,
            one.query,
            one.verdict.as_str(),
            answer.to_string().into_bytes(),
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    crate::domain::canonical::to_bytes(value).map_err(|e| Error::Corrupt(e.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    crate::domain::canonical::from_bytes(bytes).map_err(|e| Error::Corrupt(e.to_string()))
}

pub(super) async fn find(tx: &mut Tx, id: ExecutionId) -> Result<Option<Execution>, Error> {
    let row = sqlx::query_as!(
        ListRow,
        "SELECT execution_id, plan_id, approval_id, status, state, requested_by, created_at, started_at, completed_at
         FROM execution WHERE execution_id = $1",
        id.uuid(),
    );
    row.fetch_optional(&mut **tx)
        .await?
        .map(ListRow::read)
        .transpose()
}

/// One statement for each leading condition: each walks its own index. With the one status in the order, no other index can be
/// taken for a good one.
macro_rules! list_by {
    ($tx:expr, $status:expr, $plan:expr, $before:expr, $limit:expr, $lead:literal, $order:literal) => {
        sqlx::query_as!(
            ListRow,
            "SELECT execution_id, plan_id, approval_id, status, state, requested_by, created_at, started_at, completed_at
             FROM execution
             WHERE tenant_id = current_tenant() AND ($2::text IS NULL OR status = $2)
               AND ($3::uuid IS NULL OR plan_id = $3) AND " + $lead + " ORDER BY " + $order + " LIMIT $4",
            $before,
            $status,
            $plan.map(PlanId::uuid),
            $limit,
        )
        .fetch_all(&mut **$tx)
        .await?
    };
}

pub(super) async fn list(
    tx: &mut Tx,
    status: Option<&str>,
    plan: Option<PlanId>,
    before: Uuid,
    limit: i64,
) -> Result<Vec<Execution>, Error> {
    let rows = match (plan, status) {
        (Some(_), _) => list_by!(
            tx,
            status,
            plan,
            before,
            limit,
            "plan_id = $3 AND execution_id < $1",
            "execution_id DESC"
        ),
        (None, Some(_)) => list_by!(
            tx,
            status,
            plan,
            before,
            limit,
            "(status, execution_id) < ($2, $1) AND status >= $2",
            "status DESC, execution_id DESC"
        ),
        (None, None) => list_by!(
            tx,
            status,
            plan,
            before,
            limit,
            "execution_id < $1",
            "execution_id DESC"
        ),
    };
    rows.into_iter().map(ListRow::read).collect()
}

pub(super) async fn plan_and_state(tx: &mut Tx, id: ExecutionId) -> Result<Option<(PlanDoc, State)>, Error> {
    let row = sqlx::query!(
        "SELECT e.state, p.doc FROM execution e JOIN plan p ON p.plan_id = e.plan_id WHERE e.execution_id = $1",
        id.uuid(),
    );
    let Some(row) = row.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    let doc = PlanDoc::open(&row.doc).map_err(|_| Error::PlanChanged(id))?;
    Ok(Some((doc, decode(&row.state)?)))
}

struct ListRow {
    execution_id: Uuid,
    plan_id: Uuid,
    approval_id: Option<Uuid>,
    status: String,
    state: Vec<u8>,
    requested_by: String,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
}

impl ListRow {
    fn read(self) -> Result<Execution, Error> {
        let state: State = decode(&self.state)?;
        Ok(Execution {
            execution_id: self.execution_id.into(),
            plan_id: self.plan_id.into(),
            approval_id: self.approval_id.map(ApprovalId::from),
            status: self.status,
            reason: state.reason,
            requested_by: self.requested_by,
            created_at: self.created_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
        })
    }
}

/// Gives every execution that goes on, or that somebody has asked something of, and that has no job, its job again.
pub(super) async fn insert_lost_jobs(tx: &mut Tx) -> Result<u64, Error> {
    let found = sqlx::query!(
        "INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
         SELECT gen_random_uuid(), $1, e.tenant_id, e.execution_id, db_now() FROM execution e
         WHERE e.tenant_id = current_tenant() AND e.completed_at IS NULL
           AND (e.status <> 'needs_attention' OR EXISTS (SELECT 1 FROM execution_request r
                WHERE r.tenant_id = e.tenant_id AND r.execution_id = e.execution_id AND r.applied_at IS NULL))
           AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = $1 AND j.tenant_id = e.tenant_id AND j.subject = e.execution_id)
         ON CONFLICT DO NOTHING",
        super::start::JOB,
    );
    Ok(found.execute(&mut **tx).await?.rows_affected())
}
