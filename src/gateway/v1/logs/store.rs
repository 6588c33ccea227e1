//! Reads of `execution`, `journal` and `log_chunk` for the live stream.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Position;
use crate::{
    domain::{ExecutionId, canonical, run::JournalEvent},
    store::{Error, Tx},
};

/// How an execution stands.
pub(super) struct Status {
    pub(super) status: String,
    pub(super) ended: bool,
}

/// One journal entry.
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) event: JournalEvent,
    pub(super) recorded_at: DateTime<Utc>,
}

/// One piece of output.
pub(super) struct Chunk {
    pub(super) logged_at: DateTime<Utc>,
    pub(super) chunk_id: Uuid,
    pub(super) step: i32,
    pub(super) direction: String,
    pub(super) attempt: i32,
    pub(super) stream: String,
    pub(super) level: String,
    pub(super) object_digest: Option<Vec<u8>>,
    pub(super) inline: Option<Vec<u8>>,
}

pub(super) async fn find_status(tx: &mut Tx, id: ExecutionId) -> Result<Option<Status>, Error> {
    let row = sqlx::query_as!(
        Status,
        r#"SELECT status, (completed_at IS NOT NULL) AS "ended!" FROM execution
           WHERE tenant_id = current_tenant() AND execution_id = $1"#,
        id.uuid()
    );
    Ok(row.fetch_optional(&mut **tx).await?)
}

pub(super) async fn list_journal(
    tx: &mut Tx,
    id: ExecutionId,
    from: i64,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query!(
        "SELECT seq, event, recorded_at FROM journal
         WHERE tenant_id = current_tenant() AND execution_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
        id.uuid(),
        from,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let event = canonical::from_bytes(&row.event)
                .map_err(|error| Error::Corrupt(format!("a journal entry does not read: {error}")))?;
            Ok(Entry {
                seq: row.seq,
                event,
                recorded_at: row.recorded_at,
            })
        })
        .collect()
}

/// Output after the position. One router writes an attempt's chunks one after the other, so their times are in the order of commit.
pub(super) async fn list_chunks(
    tx: &mut Tx,
    id: ExecutionId,
    after: &Position,
    limit: i64,
) -> Result<Vec<Chunk>, Error> {
    let rows = sqlx::query_as!(
        Chunk,
        "SELECT logged_at, chunk_id, step, direction, attempt, stream, level, object_digest, inline FROM log_chunk
         WHERE tenant_id = current_tenant() AND execution_id = $1 AND (logged_at, chunk_id) > ($2, $3)
         ORDER BY logged_at, chunk_id LIMIT $4",
        id.uuid(),
        after.logged_at,
        after.chunk,
        limit
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}
