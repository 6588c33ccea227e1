//! SQL of table `notification`.

use uuid::Uuid;

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

/// A message, ready to be sent: the first argument of the database's `send_message`, whose second is
/// [`JOB_KIND`](super::JOB_KIND).
#[derive(Debug, Clone, sqlx::Type)]
#[sqlx(type_name = "message_row")]
pub struct MessageRow {
    notification_id: Uuid,
    kind: String,
    severity: String,
    subject: String,
    body: Vec<u8>,
    dedupe_key: String,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl MessageRow {
    pub(super) fn new(ctx: &OpCtx, notification: Notification, body: Vec<u8>) -> Self {
        Self {
            notification_id: ctx.id::<NotificationId>().uuid(),
            kind: notification.kind.as_str().to_owned(),
            severity: notification.severity.as_str().to_owned(),
            subject: notification.subject,
            body,
            dedupe_key: notification.dedupe_key,
            created_at: ctx.now(),
        }
    }
}

/// The row and the job that delivers it. None when the tenant has a row of this key.
pub(super) async fn insert(tx: &mut Tx, row: MessageRow) -> Result<Option<NotificationId>, Error> {
    let id = NotificationId::from(row.notification_id);
    let sent = sqlx::query_scalar!(
        r#"SELECT send_message($1, $2) AS "sent!""#,
        row as _,
        super::JOB_KIND
    );
    Ok(sent.fetch_one(&mut **tx).await?.then_some(id))
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
