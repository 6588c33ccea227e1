//! The rows that a warrant rests on, reloaded under the router's database role. Nothing here changes any.

use chrono::{DateTime, Utc};

use super::{Answer, Error, Refusal};
use crate::{
    domain::{
        ApprovalId, CanonicalError, ExecutionId, IdentityId, PersonId, PlanId, TargetId, canonical,
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

/// Loads it all: four statements, because each is a round trip before every act.
pub(super) async fn load(tx: &mut Tx, id: ExecutionId) -> Result<Rows, Error> {
    let wanted = wanted(tx, id).await?;
    // Only for look-ups before the bytes are checked: who asked, and where.
    let doc = PlanDoc::open(&wanted.plan.doc).ok();
    let grounds = grounds(tx, wanted.execution.approval_id, doc.as_ref()).await?;
    let told = told(tx, id).await?;
    let attempts = attempts(tx, id).await?;
    Ok(Rows {
        now: wanted.now,
        installation: wanted.installation,
        execution: wanted.execution,
        plan: wanted.plan,
        approval: grounds.approval,
        grant: grounds.grant,
        approver: grounds.approver,
        requester_identity_person_id: grounds.requester_identity_person_id,
        target: grounds.target,
        journal: told.journal,
        looks: told.looks,
        requests: told.requests,
        attempts,
    })
}

/// What is to be carried out.
struct Wanted {
    now: DateTime<Utc>,
    installation: InstallationRow,
    execution: ExecutionRow,
    plan: PlanRow,
}

async fn wanted(tx: &mut Tx, id: ExecutionId) -> Result<Wanted, Error> {
    let row = sqlx::query!(
        r#"SELECT i.generation, i.frozen, i.read_only, db_now() AS "now!",
             e.tenant_id, e.plan_id, e.approval_id, e.status, e.generation AS of_generation, e.epoch, e.journal_length,
             e.created_at, e.started_at,
             p.tenant_id AS "plan_tenant_id?", p.status AS "plan_status?", p.doc_version AS "doc_version?", p.doc AS "doc?",
             p.digest AS "digest?"
           FROM installation i CROSS JOIN execution e LEFT JOIN plan p ON p.plan_id = e.plan_id
           WHERE e.execution_id = $1"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(crate::store::Error::from)?;
    let row = row.ok_or_else(|| Refusal::new("execution_unknown", "there is no such execution"))?;
    let plan = (|| {
        Some(PlanRow {
            plan_id: row.plan_id.into(),
            tenant_id: row.plan_tenant_id?,
            status: row.plan_status?,
            doc_version: row.doc_version?,
            doc: row.doc?,
            digest: row.digest?,
        })
    })();
    Ok(Wanted {
        now: row.now,
        installation: InstallationRow {
            generation: row.generation,
            frozen: row.frozen,
            read_only: row.read_only,
        },
        execution: ExecutionRow {
            tenant_id: row.tenant_id,
            plan_id: row.plan_id.into(),
            approval_id: row.approval_id.map(ApprovalId::from),
            status: row.status,
            generation: row.of_generation,
            epoch: row.epoch,
            journal_length: row.journal_length,
            created_at: row.created_at,
            started_at: row.started_at,
        },
        plan: plan.ok_or_else(|| Refusal::new("plan_unknown", "the execution's plan does not exist"))?,
    })
}

/// Who said yes, who asked, and where.
struct Grounds {
    approval: Option<ApprovalRow>,
    grant: Option<GrantRow>,
    approver: Option<ApproverRow>,
    requester_identity_person_id: Option<PersonId>,
    target: Option<TargetRow>,
}

async fn grounds(
    tx: &mut Tx,
    approval_id: Option<ApprovalId>,
    doc: Option<&PlanDoc>,
) -> Result<Grounds, crate::store::Error> {
    let row = sqlx::query!(
        r#"SELECT a.approval_id AS "approval_id?", a.plan_id AS "plan_id?", a.digest AS "digest?", a.tier AS "tier?",
             a.status AS "status?", a.expires_at AS "expires_at?",
             g.statement AS "statement?", g.key_id AS "key_id?", g.signature AS "signature?",
             g.approver_person_id AS "approver_person_id?",
             person.person_id AS "person_id?", person.barred_until AS "barred_until?",
             t.target_id AS "target_id?", t.version AS "version?", t.doc AS "doc?", login.person_id AS "linked?"
           FROM (SELECT $1::uuid AS approval_id, $2::uuid AS target_id, $3::uuid AS identity_id) AS named
           LEFT JOIN approval a ON a.approval_id = named.approval_id
           LEFT JOIN approval_grant g ON g.approval_id = named.approval_id
           LEFT JOIN person ON person.person_id = g.approver_person_id
           LEFT JOIN target t ON t.target_id = named.target_id
           LEFT JOIN identity login ON login.identity_id = named.identity_id"#,
        approval_id.map(ApprovalId::uuid),
        doc.map(|doc| doc.target.target_id.uuid()),
        doc.and_then(|doc| doc.requester.identity_id).map(IdentityId::uuid),
    )
    .fetch_one(&mut **tx)
    .await?;
    let approval = || {
        Some(ApprovalRow {
            approval_id: row.approval_id?.into(),
            plan_id: row.plan_id?.into(),
            digest: row.digest?,
            tier: row.tier?,
            status: row.status?,
            expires_at: row.expires_at?,
        })
    };
    let grant = || {
        Some(GrantRow {
            statement: row.statement?,
            key_id: row.key_id?,
            signature: row.signature?,
            approver_person_id: row.approver_person_id?.into(),
        })
    };
    let target = || {
        Some(TargetRow {
            target_id: row.target_id?.into(),
            version: row.version?,
            doc: row.doc?,
        })
    };
    Ok(Grounds {
        approval: approval(),
        grant: grant(),
        approver: row.person_id.map(|_| ApproverRow {
            barred_until: row.barred_until,
        }),
        requester_identity_person_id: row.linked.map(PersonId::from),
        target: target(),
    })
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
