//! SQL of table `notification`.

use crate::{
    domain::{NotificationId, OpCtx},
    notify::Notification,
    store::{Error, Tx},
};

/// A row that waits for delivery, as the receiver needs it.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) kind: String,
    pub(super) severity: String,
    pub(super) subject: String,
    pub(super) body: Vec<u8>,
    pub(super) dedupe_key: String,
    pub(super) attempts: i32,
    pub(super) created_at: chrono::DateTime<chrono::Utc>,
}

/// `false` when the tenant has a row of this key.
pub(super) async fn insert(
    tx: &mut Tx,
    ctx: &OpCtx,
    id: NotificationId,
    notification: &Notification,
    body: &[u8],
) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        "INSERT INTO notification (notification_id, tenant_id, kind, severity, subject, body, dedupe_key, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, dedupe_key) DO NOTHING",
        id.uuid(),
        ctx.tenant.as_str(),
        notification.kind.as_str(),
        notification.severity.as_str(),
        notification.subject,
        body,
        notification.dedupe_key,
        ctx.now(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The row, when it still waits.
pub(super) async fn find_pending(tx: &mut Tx, id: NotificationId) -> Result<Option<Pending>, Error> {
    Ok(sqlx::query_as!(
        Pending,
        "SELECT kind, severity, subject, body, dedupe_key, attempts, created_at FROM notification
         WHERE notification_id = $1 AND status = 'pending'",
        id.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Notes one attempt; `delivered_at` is set by the word `delivered`.
pub(super) async fn update_status(
    tx: &mut Tx,
    id: NotificationId,
    status: &str,
    attempts: i32,
    error: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE notification SET status = $2, attempts = $3, last_error = left($4, 1000),
           delivered_at = CASE WHEN $2 = 'delivered' THEN db_now() END
         WHERE notification_id = $1 AND status = 'pending'",
        id.uuid(),
        status,
        attempts,
        error,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives every message that waits, and has no job, its job again.
pub(super) async fn insert_lost_jobs(tx: &mut Tx) -> Result<u64, Error> {
    let found = sqlx::query!(
        "INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
         SELECT gen_random_uuid(), $1, n.tenant_id, n.notification_id, db_now() FROM notification n
         WHERE n.tenant_id = current_tenant() AND n.status = 'pending'
           AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = $1 AND j.tenant_id = n.tenant_id AND j.subject = n.notification_id)
         ON CONFLICT DO NOTHING",
        super::JOB_KIND,
    );
    Ok(found.execute(&mut **tx).await?.rows_affected())
}
