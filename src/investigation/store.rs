//! The investigation's part of an incident: its stage, and the target that it is about.

use uuid::Uuid;

use super::Error;
use crate::{
    domain::{IncidentId, Target, TargetId, canonical},
    intake::signal::SignalFacts,
    store::Tx,
};

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An incident as the investigation needs it; its row is locked.
pub(super) struct Incident {
    pub(super) title: String,
    pub(super) group_key: String,
    pub(super) open: bool,
    pub(super) stage: String,
    pub(super) target_id: Option<TargetId>,
}

pub(super) async fn lock(tx: &mut Tx, id: IncidentId) -> Result<Option<Incident>, Error> {
    let row = sqlx::query!(
        "SELECT title, group_key, status, stage, target_id FROM incident WHERE incident_id = $1 FOR UPDATE",
        id.uuid(),
    );
    let row = row.fetch_optional(&mut **tx).await?;
    Ok(row.map(|row| Incident {
        title: row.title,
        group_key: row.group_key,
        open: row.status == "open",
        stage: row.stage,
        target_id: row.target_id.map(TargetId::from),
    }))
}

pub(super) async fn update_stage(
    tx: &mut Tx,
    id: IncidentId,
    stage: &str,
    target: Option<TargetId>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE incident SET stage = $2, target_id = coalesce($3, target_id) WHERE incident_id = $1",
        id.uuid(),
        stage,
        target.map(TargetId::uuid),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The alert that the incident is about: the one that has fired longest.
pub(super) async fn first_firing(tx: &mut Tx, id: IncidentId) -> Result<Option<SignalFacts>, Error> {
    let body = sqlx::query_scalar!(
        "SELECT body FROM signal WHERE incident_id = $1 AND status = 'firing' ORDER BY starts_at, fingerprint LIMIT 1",
        id.uuid(),
    );
    let Some(body) = body.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|e| Error::Corrupt(format!("signal: {e}")))
}

/// All targets of the tenant, by name.
pub(super) async fn targets(tx: &mut Tx) -> Result<Vec<Target>, Error> {
    let docs = sqlx::query_scalar!("SELECT doc FROM target ORDER BY name LIMIT 1000")
        .fetch_all(&mut **tx)
        .await?;
    docs.iter()
        .map(|doc| canonical::from_bytes(doc).map_err(|e| Error::Corrupt(format!("target: {e}"))))
        .collect()
}

/// Whether the installation takes no writes now.
pub(super) async fn frozen(tx: &mut Tx) -> Result<bool, Error> {
    let frozen = sqlx::query_scalar!(r#"SELECT frozen OR read_only AS "frozen!" FROM installation"#);
    Ok(frozen.fetch_one(&mut **tx).await?)
}

pub(super) fn subject(id: Option<Uuid>) -> Option<IncidentId> {
    id.map(IncidentId::from)
}

/// Gives every open incident that still has a stage to come, and no job, its job again.
pub(super) async fn insert_lost_jobs(tx: &mut Tx) -> Result<u64, Error> {
    let found = sqlx::query!(
        "INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
         SELECT gen_random_uuid(), $1, i.tenant_id, i.incident_id, db_now() FROM incident i
         WHERE i.tenant_id = current_tenant() AND i.status = 'open' AND i.stage IN ('received', 'context', 'diagnosed')
           AND EXISTS (SELECT 1 FROM signal s
                       WHERE s.tenant_id = i.tenant_id AND s.incident_id = i.incident_id AND s.status = 'firing')
           AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = $1 AND j.tenant_id = i.tenant_id AND j.subject = i.incident_id)
         ON CONFLICT DO NOTHING",
        crate::intake::JOB,
    );
    Ok(found.execute(&mut **tx).await?.rows_affected())
}
