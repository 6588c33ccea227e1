//! The table `diagnosis`: what the rules said about an incident, each time they were asked.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Diagnosis;
use crate::{
    domain::{CanonicalError, IncidentId, OpCtx, SnapshotId},
    store::{Error as Database, Tx},
};

/// Why a diagnosis was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or is not there.
    #[error(transparent)]
    Database(#[from] Database),
    /// A diagnosis that has no canonical form.
    #[error("the diagnosis has no canonical form: {0}")]
    Canonical(#[from] CanonicalError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A stored diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The row.
    pub diagnosis_id: Uuid,
    /// What was looked at.
    pub snapshot_id: Option<SnapshotId>,
    /// When it was made, in database time.
    pub made_at: DateTime<Utc>,
    /// What was said.
    pub diagnosis: Diagnosis,
}

/// Stores what was said about `incident_id` on the evidence of `snapshot_id`.
pub async fn insert(
    tx: &mut Tx,
    ctx: &OpCtx,
    incident_id: IncidentId,
    snapshot_id: Option<SnapshotId>,
    diagnosis: &Diagnosis,
) -> Result<Uuid, StoreError> {
    let diagnosis_id: Uuid = ctx.id();
    sqlx::query!(
        "INSERT INTO diagnosis (diagnosis_id, tenant_id, incident_id, snapshot_id, verdict, body, made_at)
         VALUES ($1, $2, $3, $4, $5, $6, db_now())",
        diagnosis_id,
        ctx.tenant.as_str(),
        incident_id.uuid(),
        snapshot_id.map(SnapshotId::uuid),
        diagnosis.verdict.as_str(),
        diagnosis.to_bytes()?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(diagnosis_id)
}

/// The newest diagnosis of `incident_id`, if there is one.
pub async fn find_newest(tx: &mut Tx, incident_id: IncidentId) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query!(
        "SELECT diagnosis_id, snapshot_id, body, made_at FROM diagnosis
         WHERE tenant_id = current_tenant() AND incident_id = $1 ORDER BY made_at DESC, diagnosis_id DESC LIMIT 1",
        incident_id.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let diagnosis = Diagnosis::from_bytes(&row.body)
        .map_err(|e| Database::Corrupt(format!("diagnosis {}: {e}", row.diagnosis_id)))?;
    Ok(Some(Stored {
        diagnosis_id: row.diagnosis_id,
        snapshot_id: row.snapshot_id.map(SnapshotId::from_uuid),
        made_at: row.made_at,
        diagnosis,
    }))
}
