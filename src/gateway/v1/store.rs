//! Rows as they are shown: nothing is decided from them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{IncidentId, NotificationId, PlanId},
    store::{Error, Tx},
};

/// An incident.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct IncidentRow {
    pub(super) incident_id: IncidentId,
    title: String,
    group_key: String,
    status: String,
    stage: String,
    opened_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<DateTime<Utc>>,
}

/// A message to people.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct NotificationRow {
    pub(super) notification_id: NotificationId,
    kind: String,
    severity: String,
    subject: String,
    status: String,
    attempts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<DateTime<Utc>>,
}

pub(super) async fn list_incidents(
    tx: &mut Tx,
    status: Option<&str>,
    before: Option<IncidentId>,
    limit: i64,
) -> Result<Vec<IncidentRow>, Error> {
    let before = before.map_or(Uuid::max(), IncidentId::uuid);
    let rows = sqlx::query_as!(
        IncidentRow,
        "SELECT incident_id, title, group_key, status, stage, opened_at, resolved_at FROM incident
         WHERE tenant_id = current_tenant() AND incident_id < $1 AND ($2::text IS NULL OR status = $2)
         ORDER BY incident_id DESC LIMIT $3",
        before,
        status,
        limit
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

pub(super) async fn find_incident(tx: &mut Tx, id: IncidentId) -> Result<Option<IncidentRow>, Error> {
    let row = sqlx::query_as!(
        IncidentRow,
        "SELECT incident_id, title, group_key, status, stage, opened_at, resolved_at FROM incident
         WHERE tenant_id = current_tenant() AND incident_id = $1",
        id.uuid()
    );
    Ok(row.fetch_optional(&mut **tx).await?)
}

/// The alerts of an incident, at most 200.
pub(super) async fn list_signals(tx: &mut Tx, id: IncidentId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query!(
        "SELECT body, occurrences, first_seen_at, last_seen_at FROM signal
         WHERE tenant_id = current_tenant() AND incident_id = $1 ORDER BY signal_id LIMIT 200",
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let mut body = document(&row.body)?;
            body["occurrences"] = row.occurrences.into();
            body["first_seen_at"] = row.first_seen_at.to_rfc3339().into();
            body["last_seen_at"] = row.last_seen_at.to_rfc3339().into();
            Ok(body)
        })
        .collect()
}

/// The diagnoses of an incident, newest first, at most 20.
pub(super) async fn list_diagnoses(tx: &mut Tx, id: IncidentId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query!(
        "SELECT verdict, body, made_at FROM diagnosis
         WHERE tenant_id = current_tenant() AND incident_id = $1 ORDER BY diagnosis_id DESC LIMIT 20",
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let mut body = document(&row.body)?;
            body["verdict"] = row.verdict.into();
            body["made_at"] = row.made_at.to_rfc3339().into();
            Ok(body)
        })
        .collect()
}

pub(super) async fn list_incident_plans(tx: &mut Tx, id: IncidentId) -> Result<Vec<PlanId>, Error> {
    let ids = sqlx::query_scalar!(
        "SELECT plan_id FROM plan WHERE tenant_id = current_tenant() AND incident_id = $1 ORDER BY plan_id DESC LIMIT 50",
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

pub(super) async fn list_notifications(
    tx: &mut Tx,
    status: Option<&str>,
    before: Option<NotificationId>,
    limit: i64,
) -> Result<Vec<NotificationRow>, Error> {
    let before = before.map_or(Uuid::max(), NotificationId::uuid);
    let rows = sqlx::query_as!(
        NotificationRow,
        "SELECT notification_id, kind, severity, subject, status, attempts, last_error, created_at, delivered_at FROM notification
         WHERE tenant_id = current_tenant() AND notification_id < $1 AND ($2::text IS NULL OR status = $2)
         ORDER BY notification_id DESC LIMIT $3",
        before,
        status,
        limit
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

pub(super) async fn get_freeze(tx: &mut Tx) -> Result<(bool, String), Error> {
    let row = sqlx::query!("SELECT frozen, frozen_reason FROM installation")
        .fetch_one(&mut **tx)
        .await?;
    Ok((row.frozen, row.frozen_reason.unwrap_or_default()))
}

pub(super) async fn update_freeze(tx: &mut Tx, frozen: bool, reason: &str) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE installation SET frozen = $1, frozen_reason = $2",
        frozen,
        reason
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn document(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Corrupt(format!("a stored document does not read: {error}")))
}
