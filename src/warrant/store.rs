//! The rows that a warrant rests on, reloaded under the router's database role. Nothing here changes any.

use chrono::{DateTime, Utc};

use super::{Answer, Error, Refusal};
use crate::{
    domain::{
        ApprovalId, CanonicalError, ExecutionId, PersonId, PlanId, TargetId, canonical,
        plan::PlanDoc,
        run::{ActRef, Captured, Direction, JournalEvent},
    },
    store::Tx,
};

/// Everything that was loaded, as stored.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) now: DateTime<Utc>,
    pub(super) installation: InstallationRow,
    pub(super) execution: ExecutionRow,
    pub(super) plan: PlanRow,
    pub(super) approval: Option<ApprovalRow>,
    pub(super) grant: Option<GrantRow>,
    pub(super) approver: Option<ApproverRow>,
    /// The person linked to the login that asked, as the link is now.
    pub(super) requester_identity_person_id: Option<PersonId>,
    pub(super) target: Option<TargetRow>,
    pub(super) journal: Vec<Entry>,
    /// In the order in which they were taken.
    pub(super) looks: Vec<LookRow>,
    pub(super) requests: Vec<RequestRow>,
    pub(super) attempts: Vec<AttemptRow>,
}

/// One entry of the journal: the orchestrator's row.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) event: JournalEvent,
}

/// One look at the assertions: the router's row.
#[derive(Debug, Clone)]
pub(super) struct LookRow {
    pub(super) verdict: String,
    pub(super) last: bool,
}

/// What a person asked: the gateway's row.
#[derive(Debug, Clone)]
pub(super) struct RequestRow {
    pub(super) event: JournalEvent,
    /// The engine says that it could not be.
    pub(super) refused: bool,
}

#[derive(Debug, Clone)]
pub(super) struct InstallationRow {
    pub(super) generation: i64,
    pub(super) frozen: bool,
    pub(super) read_only: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ExecutionRow {
    pub(super) tenant_id: String,
    pub(super) plan_id: PlanId,
    pub(super) approval_id: Option<ApprovalId>,
    pub(super) status: String,
    pub(super) generation: i64,
    pub(super) epoch: i64,
    pub(super) journal_length: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone)]
pub(super) struct PlanRow {
    pub(super) plan_id: PlanId,
    pub(super) tenant_id: String,
    pub(super) status: String,
    pub(super) doc_version: i16,
    pub(super) doc: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct ApprovalRow {
    pub(super) approval_id: ApprovalId,
    pub(super) plan_id: PlanId,
    pub(super) digest: Vec<u8>,
    pub(super) tier: String,
    pub(super) status: String,
    pub(super) expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct GrantRow {
    pub(super) statement: Vec<u8>,
    pub(super) key_id: String,
    pub(super) signature: Vec<u8>,
    pub(super) approver_person_id: PersonId,
}

#[derive(Debug, Clone)]
pub(super) struct ApproverRow {
    pub(super) barred_until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone)]
pub(super) struct TargetRow {
    pub(super) target_id: TargetId,
    pub(super) version: i64,
    pub(super) doc: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct AttemptRow {
    pub(super) step: u32,
    pub(super) direction: Direction,
    pub(super) attempt: u32,
    pub(super) epoch: i64,
    pub(super) status: String,
    /// Only the trace of a probe that found nothing: the attempt itself was never claimed.
    pub(super) fenced: bool,
    /// A probe found no effect of it.
    pub(super) not_done: bool,
    pub(super) retryable: bool,
    pub(super) prior: Captured,
    pub(super) result: Captured,
}

impl AttemptRow {
    pub(super) fn is(&self, act: &ActRef) -> bool {
        (self.step, self.direction, self.attempt) == (act.step, act.direction, act.attempt)
    }
}

/// One issuer of warrants at a time an execution, until the transaction ends.
pub(super) async fn lock_execution(tx: &mut Tx, id: ExecutionId) -> Result<(), crate::store::Error> {
    sqlx::query!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) AS "locked: ()""#,
        id.to_string()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Loads it all.
pub(super) async fn load(tx: &mut Tx, id: ExecutionId) -> Result<Rows, Error> {
    let installation =
        sqlx::query!(r#"SELECT generation, frozen, read_only, db_now() AS "now!" FROM installation"#)
            .fetch_one(&mut **tx)
            .await
            .map_err(crate::store::Error::from)?;
    let (now, installation) = (
        installation.now,
        InstallationRow {
            generation: installation.generation,
            frozen: installation.frozen,
            read_only: installation.read_only,
        },
    );
    let execution = execution(tx, id).await?;
    let plan = plan(tx, execution.plan_id).await?;
    // Only for look-ups before the bytes are checked: who asked, and where.
    let doc = PlanDoc::open(&plan.doc).ok();
    let (approval, grant) = match execution.approval_id {
        Some(id) => (approval(tx, id).await?, grant(tx, id).await?),
        None => (None, None),
    };
    let approver = match &grant {
        Some(grant) => approver(tx, grant.approver_person_id).await?,
        None => None,
    };
    let identity = doc.as_ref().and_then(|doc| doc.requester.identity_id);
    let requester_identity_person_id = match identity {
        Some(id) => sqlx::query_scalar!("SELECT person_id FROM identity WHERE identity_id = $1", id.uuid())
            .fetch_optional(&mut **tx)
            .await
            .map_err(crate::store::Error::from)?
            .flatten()
            .map(PersonId::from),
        None => None,
    };
    let target = match doc.as_ref().map(|doc| doc.target.target_id) {
        Some(id) => target(tx, id).await?,
        None => None,
    };
    let told = told(tx, id).await?;
    let attempts = attempts(tx, id).await?;
    Ok(Rows {
        now,
        installation,
        execution,
        plan,
        approval,
        grant,
        approver,
        requester_identity_person_id,
        target,
        journal: told.journal,
        looks: told.looks,
        requests: told.requests,
        attempts,
    })
}

async fn execution(tx: &mut Tx, id: ExecutionId) -> Result<ExecutionRow, Error> {
    let row = sqlx::query!(
        "SELECT tenant_id, plan_id, approval_id, status, generation, epoch, journal_length, created_at, started_at
         FROM execution WHERE execution_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(crate::store::Error::from)?;
    let row = row.ok_or_else(|| Refusal::new("execution_unknown", "there is no such execution"))?;
    Ok(ExecutionRow {
        tenant_id: row.tenant_id,
        plan_id: row.plan_id.into(),
        approval_id: row.approval_id.map(ApprovalId::from),
        status: row.status,
        generation: row.generation,
        epoch: row.epoch,
        journal_length: row.journal_length,
        created_at: row.created_at,
        started_at: row.started_at,
    })
}

async fn plan(tx: &mut Tx, id: PlanId) -> Result<PlanRow, Error> {
    let row = sqlx::query_as!(
        PlanRow,
        "SELECT plan_id, tenant_id, status, doc_version, doc, digest FROM plan WHERE plan_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(crate::store::Error::from)?;
    row.ok_or_else(|| Refusal::new("plan_unknown", "the execution's plan does not exist").into())
}

async fn approval(tx: &mut Tx, id: ApprovalId) -> Result<Option<ApprovalRow>, crate::store::Error> {
    Ok(sqlx::query_as!(
        ApprovalRow,
        "SELECT approval_id, plan_id, digest, tier, status, expires_at FROM approval WHERE approval_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

async fn grant(tx: &mut Tx, id: ApprovalId) -> Result<Option<GrantRow>, crate::store::Error> {
    Ok(sqlx::query_as!(
        GrantRow,
        "SELECT statement, key_id, signature, approver_person_id FROM approval_grant WHERE approval_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

async fn approver(tx: &mut Tx, id: PersonId) -> Result<Option<ApproverRow>, crate::store::Error> {
    Ok(sqlx::query_as!(
        ApproverRow,
        "SELECT barred_until FROM person WHERE person_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

async fn target(tx: &mut Tx, id: TargetId) -> Result<Option<TargetRow>, crate::store::Error> {
    Ok(sqlx::query_as!(
        TargetRow,
        "SELECT target_id, version, doc FROM target WHERE target_id = $1",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// What journal, router and people tell of an execution.
#[derive(Default)]
struct Told {
    journal: Vec<Entry>,
    looks: Vec<LookRow>,
    requests: Vec<RequestRow>,
}

/// All of it in one round trip.
async fn told(tx: &mut Tx, id: ExecutionId) -> Result<Told, Error> {
    let rows = sqlx::query!(
        r#"SELECT 'journal' AS "source!", seq AS "number!", event AS "event?", NULL::text AS "verdict?", false AS "flag!"
             FROM journal WHERE execution_id = $1
           UNION ALL SELECT 'look', number, NULL, verdict, last FROM look WHERE execution_id = $1
           UNION ALL SELECT 'request', 0, event, NULL, refused IS NOT NULL FROM execution_request WHERE execution_id = $1
           ORDER BY 1, 2"#,
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(crate::store::Error::from)?;
    let mut told = Told::default();
    for row in rows {
        let event = || -> Result<JournalEvent, Refusal> {
            canonical::from_bytes(row.event.as_deref().unwrap_or_default())
                .map_err(|e| Refusal::new("journal_unreadable", format!("an entry of the journal: {e}")))
        };
        match row.source.as_str() {
            "journal" => told.journal.push(Entry {
                seq: row.number,
                event: event()?,
            }),
            "request" => told.requests.push(RequestRow {
                event: event()?,
                refused: row.flag,
            }),
            _ => told.looks.push(LookRow {
                verdict: row.verdict.unwrap_or_default(),
                last: row.flag,
            }),
        }
    }
    Ok(told)
}

async fn attempts(tx: &mut Tx, id: ExecutionId) -> Result<Vec<AttemptRow>, Error> {
    let rows = sqlx::query!(
        "SELECT step, direction, attempt, epoch, status, error_code, prior, result FROM attempt WHERE execution_id = $1",
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(crate::store::Error::from)?;
    let unreadable = |_| Refusal::new("attempt_unreadable", "a stored attempt cannot be read");
    let mut attempts = Vec::with_capacity(rows.len());
    for row in rows {
        let prior: Option<Captured> = read(row.prior).map_err(unreadable)?;
        let answer: Option<Answer> = read(row.result).map_err(unreadable)?;
        attempts.push(AttemptRow {
            step: u32::try_from(row.step).unwrap_or(u32::MAX),
            direction: if row.direction == "forward" {
                Direction::Forward
            } else {
                Direction::Rollback
            },
            attempt: u32::try_from(row.attempt).unwrap_or(u32::MAX),
            epoch: row.epoch,
            fenced: row.status == "refused" && row.error_code.as_deref() == Some(super::FENCED),
            not_done: row.status == "failed" && row.error_code.as_deref() == Some(super::NOT_DONE),
            retryable: answer.as_ref().is_some_and(|answer| answer.retryable),
            status: row.status,
            prior: prior.unwrap_or_default(),
            result: answer.map(|answer| answer.values).unwrap_or_default(),
        });
    }
    Ok(attempts)
}

fn read<T: serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> Result<Option<T>, CanonicalError> {
    bytes.map(|bytes| canonical::from_bytes(&bytes)).transpose()
}
