//! Background work as leased rows: at most one holder at a time, each lease with a higher epoch than the last.
//!
//! A job that is asked for again while it is leased runs once more afterwards: the wish is kept in `due_at`, which is
//! 'infinity' during a lease that nobody has asked again for.

use uuid::Uuid;

use super::{Db, Error, Tx};
use crate::domain::{JobId, TenantId, redact::Redactor};

/// A held job. Whoever works on it stops when its lease ends, and names its epoch in what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The row.
    pub job_id: JobId,
    /// What sort of work.
    pub kind: String,
    /// For whom.
    pub tenant: TenantId,
    /// About what: an execution, an incident; none for a singleton.
    pub subject: Option<Uuid>,
    /// Who holds it.
    pub owner: Uuid,
    /// Rises with every lease of this job.
    pub epoch: i64,
    /// Leases since the last one that went well, this one included: for a back-off.
    pub attempts: i32,
}

/// Asks for work in `due_in_secs`: inserts the job, or brings the waiting one forward.
///
/// # Errors
/// As every statement: [`Error`].
pub async fn enqueue(
    tx: &mut Tx,
    kind: &str,
    tenant: &TenantId,
    subject: Option<Uuid>,
    due_in_secs: i64,
) -> Result<(), Error> {
    sqlx::query!(
        r#"SELECT enqueue_job($1, $2, $3, $4) AS "asked: ()""#,
        kind,
        tenant.as_str(),
        subject,
        due_in_secs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the job of these kinds that has been due longest, or whose holder's lease has ended; none when all wait.
///
/// # Errors
/// As every statement: [`Error`].
pub async fn lease(db: &Db, kinds: &[&str], owner: Uuid, lease_secs: i64) -> Result<Option<Lease>, Error> {
    let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
    let mut tx = db.begin_global().await?;
    // Kind by kind: each walks its own index to the first row and stops, however many wait.
    let row = sqlx::query!(
        "WITH now AS MATERIALIZED (SELECT db_now() AS at),
         abandoned AS (
           SELECT first.* FROM unnest($1::text[]) AS wanted (kind), LATERAL (
             SELECT job_id, lease_until AS since FROM job
             WHERE job.kind = wanted.kind AND lease_until <= (SELECT at FROM now)
             ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED) AS first),
         waiting AS (
           SELECT first.* FROM unnest($1::text[]) AS wanted (kind), LATERAL (
             SELECT job_id, due_at AS since FROM job
             WHERE job.kind = wanted.kind AND lease_until IS NULL AND due_at <= (SELECT at FROM now)
             ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS first),
         chosen AS (
           SELECT job_id FROM (SELECT * FROM abandoned UNION ALL SELECT * FROM waiting) AS either
           ORDER BY since LIMIT 1)
         UPDATE job SET lease_owner = $2, lease_until = now.at + make_interval(secs => $3::bigint),
           due_at = 'infinity', epoch = job.epoch + 1, attempts = job.attempts + 1
         FROM chosen, now WHERE job.job_id = chosen.job_id
         RETURNING job.job_id, job.kind, job.tenant_id, job.subject, job.epoch, job.attempts",
        &kinds,
        owner,
        lease_secs,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| {
        Ok(Lease {
            job_id: JobId::from_uuid(row.job_id),
            kind: row.kind,
            tenant: row
                .tenant_id
                .parse()
                .map_err(|_| Error::Corrupt("job.tenant_id".to_owned()))?,
            subject: row.subject,
            owner,
            epoch: row.epoch,
            attempts: row.attempts,
        })
    })
    .transpose()
}

/// Holds on for `lease_secs` from now. `false` when the lease is no longer ours: the holder must stop at once.
///
/// # Errors
/// As every statement: [`Error`].
pub async fn renew(db: &Db, lease: &Lease, lease_secs: i64) -> Result<bool, Error> {
    let mut tx = db.begin_global().await?;
    let renewed = sqlx::query!(
        "UPDATE job SET lease_until = db_now() + make_interval(secs => $4::bigint)
         WHERE job_id = $1 AND epoch = $2 AND lease_owner = $3 AND lease_until > db_now()",
        lease.job_id.uuid(),
        lease.epoch,
        lease.owner,
        lease_secs,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(renewed == 1)
}

/// Ends the job: deletes it, or, when it was asked for again meanwhile, releases it to run once more.
///
/// # Errors
/// [`Error::Conflict`] with constraint `job_lease` when the lease is no longer ours: the transaction must be given up.
pub async fn finish(tx: &mut Tx, lease: &Lease) -> Result<(), Error> {
    // Two statements: the second must see a wish that another transaction committed while the first waited for the row.
    let row = sqlx::query!(
        r#"SELECT due_at = 'infinity' AS "unasked!" FROM job
         WHERE job_id = $1 AND epoch = $2 AND lease_owner = $3 FOR UPDATE"#,
        lease.job_id.uuid(),
        lease.epoch,
        lease.owner,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return still_ours(false) };
    if row.unasked {
        sqlx::query!("DELETE FROM job WHERE job_id = $1", lease.job_id.uuid())
            .execute(&mut **tx)
            .await?;
        return Ok(());
    }
    sqlx::query!(
        "UPDATE job SET lease_owner = NULL, lease_until = NULL, attempts = 0, last_error = NULL WHERE job_id = $1",
        lease.job_id.uuid(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives the job back, to be done in `due_in_secs`, or sooner when it was asked for meanwhile. With an `error` (at most
/// its first 1000 characters are kept) the count of attempts goes on; without, it starts anew.
///
/// # Errors
/// As [`finish`].
pub async fn reschedule(
    tx: &mut Tx,
    lease: &Lease,
    due_in_secs: i64,
    error: Option<&str>,
) -> Result<(), Error> {
    release(tx, lease, due_in_secs.saturating_mul(1000), error).await
}

/// As [`reschedule`], in its own transaction and to the millisecond.
///
/// # Errors
/// As [`finish`].
pub async fn hand_back(db: &Db, lease: &Lease, due_in_ms: i64, error: Option<&str>) -> Result<(), Error> {
    let mut tx = db.begin_global().await?;
    release(&mut tx, lease, due_in_ms, error).await?;
    tx.commit().await
}

async fn release(tx: &mut Tx, lease: &Lease, due_in_ms: i64, error: Option<&str>) -> Result<(), Error> {
    // Errors quote what others said.
    let error = error.map(|error| Redactor::new().redact_text(error));
    let released = sqlx::query!(
        "UPDATE job SET lease_owner = NULL, lease_until = NULL,
           due_at = least(due_at, db_now() + $4::bigint * interval '1 millisecond'),
           attempts = CASE WHEN $5::text IS NULL THEN 0 ELSE attempts END, last_error = left($5, 1000)
         WHERE job_id = $1 AND epoch = $2 AND lease_owner = $3",
        lease.job_id.uuid(),
        lease.epoch,
        lease.owner,
        due_in_ms,
        error.as_deref(),
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    still_ours(released == 1)
}

fn still_ours(held: bool) -> Result<(), Error> {
    held.then_some(()).ok_or_else(|| Error::Conflict {
        constraint: "job_lease".to_owned(),
    })
}
