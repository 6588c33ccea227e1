//! Attempts and their log, as rows of the router.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::output::{Chunk, Placed};
use crate::{
    audit::EventRow,
    domain::{
        CanonicalError, OpCtx, Target, TargetId, canonical,
        plan::Verification,
        run::{ActRef, AttemptStatus, Captured, LookRef, Verdict},
    },
    store::{Error, Tx},
    warrant::{Answer, FENCED, Refusal, Warrant},
};

/// An attempt as stored.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) status: String,
    pub(super) nonce: Uuid,
    pub(super) alive_until: DateTime<Utc>,
    pub(super) deadline_at: DateTime<Utc>,
    pub(super) prior: Option<Captured>,
    pub(super) answer: Option<Answer>,
    pub(super) error_code: Option<String>,
    pub(super) error: Option<String>,
}

impl Attempt {
    pub(super) fn is_fence(&self) -> bool {
        self.status == "refused" && self.error_code.as_deref() == Some(FENCED)
    }

    pub(super) fn ended(&self) -> Option<AttemptStatus> {
        match self.status.as_str() {
            "done" => Some(AttemptStatus::Done),
            "failed" => Some(AttemptStatus::Failed),
            "refused" => Some(AttemptStatus::Refused),
            "unknown" => Some(AttemptStatus::Unknown),
            _ => None,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) status: AttemptStatus,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) answer: Answer,
}

fn step(act: &ActRef) -> i32 {
    i32::try_from(act.step).unwrap_or(i32::MAX)
}

fn attempt(act: &ActRef) -> i32 {
    i32::try_from(act.attempt).unwrap_or(i32::MAX)
}

fn corrupt(error: CanonicalError) -> Error {
    Error::Corrupt(error.to_string())
}

/// A registered target.
pub(super) async fn find_target(tx: &mut Tx, id: TargetId) -> Result<Option<Target>, Error> {
    let doc = sqlx::query_scalar!("SELECT doc FROM target WHERE target_id = $1", id.uuid())
        .fetch_optional(&mut **tx)
        .await?;
    doc.map(|doc| serde_json::from_slice(&doc).map_err(|e| Error::Corrupt(format!("target {id}: {e}"))))
        .transpose()
}

/// Claims the attempt that `warrant` is for; a fence of a probe is taken over. The primary key lets one claim in.
pub(super) async fn claim(
    tx: &mut Tx,
    warrant: &Warrant,
    router_id: Uuid,
    alive_secs: u32,
    total_secs: u32,
) -> Result<bool, Error> {
    let act = warrant.act();
    let claimed = sqlx::query!(
        "INSERT INTO attempt (execution_id, step, direction, attempt, tenant_id, epoch, status, nonce, router_id,
           claimed_at, alive_until, deadline_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'claimed', $7, $8, db_now(), db_now() + make_interval(secs => $9),
           db_now() + make_interval(secs => $10))
         ON CONFLICT (execution_id, step, direction, attempt) DO UPDATE
           SET status = 'claimed', epoch = excluded.epoch, nonce = excluded.nonce, router_id = excluded.router_id,
             claimed_at = excluded.claimed_at, alive_until = excluded.alive_until, deadline_at = excluded.deadline_at,
             ended_at = NULL, error_code = NULL, error = NULL
           WHERE attempt.status = 'refused' AND attempt.error_code = 'fenced' AND attempt.epoch <= excluded.epoch",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        act.tenant_id.as_str(),
        act.epoch,
        warrant.nonce(),
        router_id,
        f64::from(alive_secs),
        f64::from(total_secs),
    )
    .execute(&mut **tx)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Leaves the trace of a probe that found nothing: from now on only this epoch or a newer one may claim the attempt.
pub(super) async fn fence(tx: &mut Tx, ctx: &OpCtx, act: &ActRef, router_id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO attempt (execution_id, step, direction, attempt, tenant_id, epoch, status, nonce, router_id,
           claimed_at, alive_until, deadline_at, ended_at, error_code, error)
         VALUES ($1, $2, $3, $4, $5, $6, 'refused', $7, $8, db_now(), db_now(), db_now(), db_now(), 'fenced',
           'a probe found no such attempt')
         ON CONFLICT (execution_id, step, direction, attempt) DO UPDATE SET epoch = excluded.epoch
           WHERE attempt.status = 'refused' AND attempt.error_code = 'fenced' AND attempt.epoch < excluded.epoch",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        act.tenant_id.as_str(),
        act.epoch,
        ctx.id::<Uuid>(),
        router_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A sign of life. `false`: the claim is no longer ours.
pub(super) async fn renew(tx: &mut Tx, act: &ActRef, nonce: Uuid, alive_secs: u32) -> Result<bool, Error> {
    let renewed = sqlx::query!(
        "UPDATE attempt SET alive_until = db_now() + make_interval(secs => $6)
         WHERE execution_id = $1 AND step = $2 AND direction = $3 AND attempt = $4 AND nonce = $5 AND status = 'claimed'",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        nonce,
        f64::from(alive_secs),
    )
    .execute(&mut **tx)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Stores what was captured, before anything is done.
pub(super) async fn update_prior(
    tx: &mut Tx,
    act: &ActRef,
    nonce: Uuid,
    prior: &Captured,
) -> Result<bool, Error> {
    let bytes = canonical::to_bytes(prior).map_err(corrupt)?;
    let stored = sqlx::query!(
        "UPDATE attempt SET prior = $6
         WHERE execution_id = $1 AND step = $2 AND direction = $3 AND attempt = $4 AND nonce = $5 AND status = 'claimed'",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        nonce,
        bytes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// Ends a claimed attempt, with its audit event, in one statement. `false`: somebody else has ended it, and told so.
pub(super) async fn update_ended(
    tx: &mut Tx,
    act: &ActRef,
    nonce: Uuid,
    end: &End,
    event: EventRow,
) -> Result<bool, Error> {
    let result = canonical::to_bytes(&end.answer).map_err(corrupt)?;
    let ended = sqlx::query_scalar!(
        r#"WITH ended AS (
             UPDATE attempt SET status = $6, ended_at = db_now(), result = $7, error_code = $8, error = $9
             WHERE execution_id = $1 AND step = $2 AND direction = $3 AND attempt = $4 AND nonce = $5 AND status = 'claimed'
             RETURNING record_event($10) AS recorded
           )
           SELECT count(*) AS "ended!" FROM ended"#,
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        nonce,
        end.status.as_str(),
        result,
        end.code,
        end.message,
        event as _,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(ended == 1)
}

/// The attempt's row.
pub(super) async fn find(tx: &mut Tx, act: &ActRef) -> Result<Option<Attempt>, Error> {
    let row = sqlx::query!(
        "SELECT status, nonce, alive_until, deadline_at, prior, result, error_code, error FROM attempt
         WHERE execution_id = $1 AND step = $2 AND direction = $3 AND attempt = $4",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(Attempt {
            status: row.status,
            nonce: row.nonce,
            alive_until: row.alive_until,
            deadline_at: row.deadline_at,
            prior: row
                .prior
                .map(|bytes| canonical::from_bytes(&bytes))
                .transpose()
                .map_err(corrupt)?,
            answer: row
                .result
                .map(|bytes| canonical::from_bytes(&bytes))
                .transpose()
                .map_err(corrupt)?,
            error_code: row.error_code,
            error: row.error,
        })
    })
    .transpose()
}

/// Keeps a refusal as the end of its attempt; a fence of a probe is taken over, as by a claim.
pub(super) async fn refuse(
    tx: &mut Tx,
    ctx: &OpCtx,
    act: &ActRef,
    refusal: &Refusal,
    router_id: Uuid,
) -> Result<(), Error> {
    let answer = Answer {
        retryable: refusal.retryable,
        ..Answer::default()
    };
    sqlx::query!(
        "INSERT INTO attempt (execution_id, step, direction, attempt, tenant_id, epoch, status, nonce, router_id,
           claimed_at, alive_until, deadline_at, ended_at, result, error_code, error)
         VALUES ($1, $2, $3, $4, $5, $6, 'refused', $7, $8, db_now(), db_now(), db_now(), db_now(), $9, $10, $11)
         ON CONFLICT (execution_id, step, direction, attempt) DO UPDATE
           SET epoch = excluded.epoch, nonce = excluded.nonce, router_id = excluded.router_id, claimed_at = excluded.claimed_at,
             ended_at = excluded.ended_at, result = excluded.result, error_code = excluded.error_code, error = excluded.error
           WHERE attempt.status = 'refused' AND attempt.error_code = 'fenced' AND attempt.epoch <= excluded.epoch",
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        act.tenant_id.as_str(),
        act.epoch,
        ctx.id::<Uuid>(),
        router_id,
        canonical::to_bytes(&answer).map_err(corrupt)?,
        refusal.code,
        refusal.message,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the last `samples` looks since the last forward attempt ended were all `met`: then it is measured that the plan worked.
pub(super) async fn has_passed(tx: &mut Tx, named: &LookRef, samples: u32) -> Result<bool, Error> {
    let passed = sqlx::query_scalar!(
        r#"SELECT count(*) FILTER (WHERE verdict = 'met') >= $2::bigint AS "passed!" FROM (
             SELECT verdict FROM look WHERE execution_id = $1 AND looked_at > coalesce((
               SELECT max(ended_at) FROM attempt
               WHERE execution_id = $1 AND direction = 'forward' AND status <> 'refused'), '-infinity')
             ORDER BY number DESC LIMIT $2::bigint) AS newest"#,
        named.execution_id.uuid(),
        i64::from(samples),
    );
    Ok(passed.fetch_one(&mut **tx).await?)
}

/// Keeps one look, if `named` still names the execution's lease, and says whether it was the last one. The window begins with the
/// first look after the last forward attempt ended, at the earliest when the settle time is over.
pub(super) async fn insert_look(
    tx: &mut Tx,
    named: &LookRef,
    verdict: Verdict,
    timing: &Verification,
) -> Result<Option<bool>, Error> {
    let last = sqlx::query_scalar!(
        "INSERT INTO look (execution_id, number, tenant_id, epoch, verdict, last, looked_at)
         SELECT e.execution_id,
           1 + coalesce((SELECT max(number) FROM look WHERE execution_id = e.execution_id), 0),
           e.tenant_id, e.epoch, $3,
           now.at >= make_interval(secs => $5) + greatest(
             done.at + make_interval(secs => $4),
             coalesce((SELECT min(looked_at) FROM look WHERE execution_id = e.execution_id AND looked_at > done.at), now.at)),
           now.at
         FROM execution e, (SELECT db_now() AS at) AS now, LATERAL (
           SELECT coalesce(max(ended_at), e.created_at) AS at FROM attempt
           WHERE execution_id = e.execution_id AND direction = 'forward' AND status <> 'refused') AS done
         WHERE e.execution_id = $1 AND e.epoch = $2 AND e.status = 'running'
         RETURNING last",
        named.execution_id.uuid(),
        named.epoch,
        verdict.as_str(),
        f64::from(timing.settle_secs),
        f64::from(timing.window_secs),
    );
    Ok(last.fetch_optional(&mut **tx).await?)
}

/// What the first attempt of this step and direction captured: a mark of any attempt is newer than that.
pub(super) async fn first_prior(tx: &mut Tx, act: &ActRef) -> Result<Option<Captured>, Error> {
    let bytes = sqlx::query_scalar!(
        r#"SELECT prior AS "prior!" FROM attempt
           WHERE execution_id = $1 AND step = $2 AND direction = $3 AND attempt < $4 AND prior IS NOT NULL
           ORDER BY attempt LIMIT 1"#,
        act.execution_id.uuid(),
        step(act),
        act.direction.as_str(),
        attempt(act),
    )
    .fetch_optional(&mut **tx)
    .await?;
    bytes
        .map(|bytes| canonical::from_bytes(&bytes).map_err(corrupt))
        .transpose()
}

/// One piece of the attempt's output.
pub(super) async fn insert_chunk(
    tx: &mut Tx,
    ctx: &OpCtx,
    act: &ActRef,
    chunk: &Chunk,
    placed: &Placed,
) -> Result<(), Error> {
    let (object, inline) = match placed {
        Placed::Object(digest) => (Some(digest.as_bytes().to_vec()), None),
        Placed::Inline => (None, Some(chunk.text.as_bytes().to_vec())),
    };
    sqlx::query!(
        "INSERT INTO log_chunk (execution_id, tenant_id, chunk_id, step, direction, attempt, stream, level, object_digest,
           inline, size_bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        act.execution_id.uuid(),
        act.tenant_id.as_str(),
        ctx.id::<Uuid>(),
        step(act),
        act.direction.as_str(),
        attempt(act),
        chunk.stream,
        chunk.level,
        object,
        inline,
        i32::try_from(chunk.text.len()).unwrap_or(i32::MAX),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
