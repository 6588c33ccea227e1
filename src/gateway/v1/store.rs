//! Rows as they are shown: nothing is decided from them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{ApprovalId, IncidentId, NotificationId, PlanId},
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
    // A statement of its own with the filter: each walks its own index, and with the status in the order can take no other.
    let rows = match status {
        Some(status) => {
            sqlx::query_as!(
                IncidentRow,
                "SELECT incident_id, title, group_key, status, stage, opened_at, resolved_at FROM incident
                 WHERE tenant_id = current_tenant() AND (status, incident_id) < ($2, $1) AND status >= $2
                 ORDER BY status DESC, incident_id DESC LIMIT $3",
                before,
                status,
                limit
            )
            .fetch_all(&mut **tx)
            .await
        }
        None => {
            sqlx::query_as!(
                IncidentRow,
                "SELECT incident_id, title, group_key, status, stage, opened_at, resolved_at FROM incident
                 WHERE tenant_id = current_tenant() AND incident_id < $1 ORDER BY incident_id DESC LIMIT $2",
                before,
                limit
            )
            .fetch_all(&mut **tx)
            .await
        }
    };
    Ok(rows?)
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
    // A statement of its own with the filter: each walks its own index, and with the status in the order can take no other.
    let rows = match status {
        Some(status) => {
            sqlx::query_as!(
                NotificationRow,
                "SELECT notification_id, kind, severity, subject, status, attempts, last_error, created_at, delivered_at FROM notification
                 WHERE tenant_id = current_tenant() AND (status, notification_id) < ($2, $1) AND status >= $2
                 ORDER BY status DESC, notification_id DESC LIMIT $3",
                before,
                status,
                limit
            )
            .fetch_all(&mut **tx)
            .await
        }
        None => {
            sqlx::query_as!(
                NotificationRow,
                "SELECT notification_id, kind, severity, subject, status, attempts, last_error, created_at, delivered_at FROM notification
                 WHERE tenant_id = current_tenant() AND notification_id < $1 ORDER BY notification_id DESC LIMIT $2",
                before,
                limit
            )
            .fetch_all(&mut **tx)
            .await
        }
    };
    Ok(rows?)
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

/// An approval in a list.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct ApprovalRow {
    pub(super) approval_id: ApprovalId,
    plan_id: PlanId,
    digest: String,
    summary: String,
    risk_level: String,
    target: Option<String>,
    tier: String,
    status: String,
    requested_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver_note: Option<String>,
}

/// A statement for each leading condition, so that each walks its own index.
macro_rules! approvals_by {
    ($tx:expr, $before:expr, $status:expr, $limit:expr, $lead:literal, $order:literal) => {
        sqlx::query!(
            "SELECT a.approval_id, a.plan_id, a.digest, p.summary, p.risk_level, p.target_name, a.tier, a.status, a.requested_at,
                    a.expires_at, a.decided_at, a.decided_by, a.note
             FROM approval a JOIN plan p ON p.tenant_id = a.tenant_id AND p.plan_id = a.plan_id
             WHERE a.tenant_id = current_tenant() AND ($2::text IS NULL OR a.status = $2)
               AND " + $lead + " ORDER BY " + $order + " LIMIT $3",
            $before,
            $status,
            $limit
        )
        .fetch_all(&mut **$tx)
        .await?
        .into_iter()
        .map(|row| ApprovalRow {
            approval_id: row.approval_id.into(),
            plan_id: row.plan_id.into(),
            digest: format!("sha256:{}", hex::encode(row.digest)),
            summary: row.summary,
            risk_level: row.risk_level,
            target: row.target_name,
            tier: row.tier,
            status: row.status,
            requested_at: row.requested_at,
            expires_at: row.expires_at,
            decided_at: row.decided_at,
            approver: row.decided_by,
            approver_note: row.note,
        })
        .collect()
    };
}

pub(super) async fn list_approvals(
    tx: &mut Tx,
    status: Option<&str>,
    before: Option<ApprovalId>,
    limit: i64,
) -> Result<Vec<ApprovalRow>, Error> {
    let before = before.map_or(Uuid::max(), ApprovalId::uuid);
    Ok(match status {
        Some(_) => approvals_by!(
            tx,
            before,
            status,
            limit,
            "(a.status, a.approval_id) < ($2, $1) AND a.status >= $2",
            "a.status DESC, a.approval_id DESC"
        ),
        None => approvals_by!(
            tx,
            before,
            status,
            limit,
            "a.approval_id < $1",
            "a.approval_id DESC"
        ),
    })
}

/// The first row of an offset page, of a list that runs from the newest id to the oldest.
pub(in crate::gateway) struct First(Uuid);

impl First {
    /// The id that a keyset page which begins with this row stands before.
    pub(super) fn before<T: From<Uuid>>(&self) -> Option<T> {
        Some(Uuid::from_u128(self.0.as_u128().saturating_add(1)).into())
    }
}

/// Counts plans, no further than 10 001.
pub(super) async fn count_plans(
    tx: &mut Tx,
    status: Option<&str>,
    target: Option<&str>,
    incident: Option<IncidentId>,
) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
             SELECT 1 FROM plan WHERE tenant_id = current_tenant() AND ($1::text IS NULL OR status = $1)
               AND ($2::text IS NULL OR target_name = $2) AND ($3::uuid IS NULL OR incident_id = $3) LIMIT 10001) AS seen"#,
        status,
        target,
        incident.map(IncidentId::uuid)
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

pub(super) async fn nth_plan(
    tx: &mut Tx,
    status: Option<&str>,
    target: Option<&str>,
    incident: Option<IncidentId>,
    offset: i64,
) -> Result<Option<First>, Error> {
    let id = sqlx::query_scalar!(
        "SELECT plan_id FROM plan WHERE tenant_id = current_tenant() AND ($1::text IS NULL OR status = $1)
           AND ($2::text IS NULL OR target_name = $2) AND ($3::uuid IS NULL OR incident_id = $3)
         ORDER BY plan_id DESC OFFSET $4 LIMIT 1",
        status,
        target,
        incident.map(IncidentId::uuid),
        offset
    );
    Ok(id.fetch_optional(&mut **tx).await?.map(First))
}

/// Counts executions, no further than 10 001.
pub(super) async fn count_executions(
    tx: &mut Tx,
    status: Option<&str>,
    plan: Option<PlanId>,
) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
             SELECT 1 FROM execution WHERE tenant_id = current_tenant() AND ($1::text IS NULL OR status = $1)
               AND ($2::uuid IS NULL OR plan_id = $2) LIMIT 10001) AS seen"#,
        status,
        plan.map(PlanId::uuid)
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

pub(super) async fn nth_execution(
    tx: &mut Tx,
    status: Option<&str>,
    plan: Option<PlanId>,
    offset: i64,
) -> Result<Option<First>, Error> {
    let id = sqlx::query_scalar!(
        "SELECT execution_id FROM execution WHERE tenant_id = current_tenant() AND ($1::text IS NULL OR status = $1)
           AND ($2::uuid IS NULL OR plan_id = $2)
         ORDER BY execution_id DESC OFFSET $3 LIMIT 1",
        status,
        plan.map(PlanId::uuid),
        offset
    );
    Ok(id.fetch_optional(&mut **tx).await?.map(First))
}

fn document(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Corrupt(format!("a stored document does not read: {error}")))
}
