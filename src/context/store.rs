//! The table `snapshot`: canonical bytes, and their digest.

use chrono::{DateTime, Utc};

use super::{Snapshot, digest_of};
use crate::{
    domain::{CanonicalError, Digest, OpCtx, SnapshotId},
    store::{Error as Database, Tx},
};

/// Why a snapshot was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or is not there.
    #[error(transparent)]
    Database(#[from] Database),
    /// A snapshot that has no canonical form.
    #[error("the snapshot has no canonical form: {0}")]
    Canonical(#[from] CanonicalError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A stored snapshot, checked against its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The row.
    pub snapshot_id: SnapshotId,
    /// Over the stored bytes.
    pub digest: Digest,
    /// When it was taken.
    pub collected_at: DateTime<Utc>,
    /// What it shows.
    pub snapshot: Snapshot,
}

/// Stores `snapshot` under a new id.
pub async fn insert(
    tx: &mut Tx,
    ctx: &OpCtx,
    snapshot: &Snapshot,
) -> Result<(SnapshotId, Digest), StoreError> {
    let (bytes, digest) = snapshot.seal()?;
    let snapshot_id: SnapshotId = ctx.id();
    sqlx::query!(
        "INSERT INTO snapshot (snapshot_id, tenant_id, target_id, digest, body, collected_at) VALUES ($1, $2, $3, $4, $5, $6)",
        snapshot_id.uuid(),
        ctx.tenant.as_str(),
        snapshot.target_id.uuid(),
        digest.as_bytes().as_slice(),
        bytes,
        snapshot.taken_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok((snapshot_id, digest))
}

/// The snapshot with this id. [`Database::NotFound`] when there is none, [`Database::Corrupt`] when its bytes are not
/// what was stored.
pub async fn get(tx: &mut Tx, snapshot_id: SnapshotId) -> Result<Stored, StoreError> {
    let row = sqlx::query!(
        "SELECT digest, body, collected_at FROM snapshot WHERE snapshot_id = $1",
        snapshot_id.uuid(),
    )
    .fetch_one(&mut **tx)
    .await?;
    let digest = digest_of(&row.body);
    if Digest::from_slice(&row.digest) != Some(digest) {
        return Err(Database::Corrupt(format!("{snapshot_id}: the digest is of other bytes")).into());
    }
    let snapshot = Snapshot::open(&row.body).map_err(|e| Database::Corrupt(format!("{snapshot_id}: {e}")))?;
    Ok(Stored {
        snapshot_id,
        digest,
        collected_at: row.collected_at,
        snapshot,
    })
}
