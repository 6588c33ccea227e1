//! Requests for approval and their answers as rows. Time is database time.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    audit::EventRow,
    domain::{ApprovalId, Digest, IdentityId, IncidentId, PersonId, PlanId, Tier},
    notify::{self, MessageRow},
    plan::{
        Stored,
        store::{self as plans, PlanRow},
    },
    store::{Error, Tx},
    warrant::statement::Signed,
};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Waits for a person.
    Pending,
    /// Somebody said yes; not used yet.
    Granted,
    /// Somebody said no. The end.
    Denied,
    /// Nobody answered, or used the yes, in time. The end.
    Expired,
    /// One execution was made with it. The end.
    Consumed,
    /// The yes was taken back, or a newer plan took the place. The end.
    Revoked,
}

impl ApprovalStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Granted,
        Self::Denied,
        Self::Expired,
        Self::Consumed,
        Self::Revoked,
    ];

    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Consumed => "consumed",
            Self::Revoked => "revoked",
        }
    }

    /// Whether a request may go from here to there.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use ApprovalStatus::{Consumed, Denied, Expired, Granted, Pending, Revoked};
        matches!(
            (self, to),
            (Pending, Granted | Denied | Expired | Revoked) | (Granted, Consumed | Expired | Revoked)
        )
    }
}

impl FromStr for ApprovalStatus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| Error::Corrupt(format!("approval status `{text}`")))
    }
}

/// A stored request.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub approval_id: ApprovalId,
    /// The plan.
    pub plan_id: PlanId,
    /// Digest of the plan when it was asked for.
    pub digest: Digest,
    /// Which approval is needed.
    pub tier: Tier,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// Until when it can be answered and used.
    pub expires_at: DateTime<Utc>,
    /// Whether that time has passed.
    pub expired: bool,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<DateTime<Utc>>,
    /// Name of who answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A person, as far as approving needs it.
pub(super) struct Person {
    pub(super) person_id: PersonId,
    pub(super) barred: bool,
}

/// The person whom a login is linked to now.
pub(super) async fn find_person_of(tx: &mut Tx, identity: IdentityId) -> Result<Option<Person>, Error> {
    let row = sqlx::query!(
        r#"SELECT p.person_id, coalesce(p.barred_until > db_now(), false) AS "barred!"
           FROM identity i JOIN person p ON p.person_id = i.person_id
           WHERE i.tenant_id = current_tenant() AND p.tenant_id = current_tenant() AND i.identity_id = $1"#,
        identity.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Person {
        person_id: row.person_id.into(),
        barred: row.barred,
    }))
}

/// Opens a request, with its event, the job that ends it and the message that tells people, in one statement; another open one
/// for the plan is a conflict.
pub(super) async fn insert(
    tx: &mut Tx,
    approval: &Approval,
    event: EventRow,
    message: MessageRow,
    due_in_secs: i64,
) -> Result<(), Error> {
    sqlx::query!(
        r#"WITH asked AS (
             INSERT INTO approval (approval_id, tenant_id, plan_id, digest, tier, status, requested_at, expires_at)
             VALUES ($1, current_tenant(), $2, $3, $4, $5, $6, $7)
             RETURNING record_event($8) AS recorded, send_message($9, $10) AS sent,
               enqueue_job($11, current_tenant(), $1, $12) AS due
           )
           SELECT sent FROM asked"#,
        approval.approval_id.uuid(),
        approval.plan_id.uuid(),
        &approval.digest.as_bytes()[..],
        approval.tier.as_str(),
        approval.status.as_str(),
        approval.requested_at,
        approval.expires_at,
        event as _,
        message as _,
        notify::JOB_KIND,
        super::EXPIRY_JOB,
        due_in_secs,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

/// The newest request of a plan, locked until the transaction ends.
pub(super) async fn lock_latest(tx: &mut Tx, plan_id: PlanId) -> Result<Option<Approval>, Error> {
    let found = sqlx::query_scalar!(
        "SELECT approval_id FROM approval WHERE tenant_id = current_tenant() AND plan_id = $1
         ORDER BY approval_id DESC LIMIT 1 FOR UPDATE",
        plan_id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    match found {
        // Read again: what the lock waited for has changed it.
        Some(_) => Ok(list_of_plan(tx, plan_id).await?.pop()),
        None => Ok(None),
    }
}

/// All requests of a plan, oldest first.
pub async fn list_of_plan(tx: &mut Tx, plan_id: PlanId) -> Result<Vec<Approval>, Error> {
    let rows = sqlx::query!(
        r#"SELECT approval_id, plan_id, digest, tier, status, requested_at, expires_at,
             expires_at <= db_now() AS "expired!", decided_at, decided_by, note
           FROM approval WHERE tenant_id = current_tenant() AND plan_id = $1 ORDER BY approval_id"#,
        plan_id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let digest = Digest::from_slice(&row.digest);
            Ok(Approval {
                approval_id: row.approval_id.into(),
                plan_id: row.plan_id.into(),
                digest: digest.ok_or_else(|| Error::Corrupt("approval.digest".to_owned()))?,
                tier: tier(&row.tier)?,
                status: row.status.parse()?,
                requested_at: row.requested_at,
                expires_at: row.expires_at,
                expired: row.expired,
                decided_at: row.decided_at,
                decided_by: row.decided_by,
                note: row.note,
            })
        })
        .collect()
}

/// A plan and all requests of it, oldest first, in one statement.
pub async fn plan_with_requests(
    tx: &mut Tx,
    plan_id: PlanId,
) -> Result<(Stored, Vec<Approval>), plans::Error> {
    // Its bytes come once for each request; more than one are rare.
    let rows = sqlx::query!(
        r#"SELECT p.status, p.doc_version, p.doc, p.digest, p.created_at, p.updated_at,
             a.approval_id AS "approval_id?", a.digest AS "asked_for?", a.tier AS "tier?", a.status AS "approval_status?",
             a.requested_at AS "requested_at?", a.expires_at AS "expires_at?", a.expires_at <= db_now() AS expired,
             a.decided_at, a.decided_by, a.note
           FROM plan p LEFT JOIN approval a ON a.tenant_id = p.tenant_id AND a.plan_id = p.plan_id
           WHERE p.tenant_id = current_tenant() AND p.plan_id = $1 ORDER BY a.approval_id"#,
        plan_id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    let (mut plan, mut approvals) = (None, Vec::new());
    for row in rows {
        let status = row.approval_status.as_deref().map(str::parse).transpose()?;
        let tier = row.tier.as_deref().map(tier).transpose()?;
        let digest = row.asked_for.as_deref().map(|bytes| {
            Digest::from_slice(bytes).ok_or_else(|| Error::Corrupt("approval.digest".to_owned()))
        });
        let digest = digest.transpose()?;
        let approval = || {
            Some(Approval {
                approval_id: row.approval_id?.into(),
                plan_id,
                digest: digest?,
                tier: tier?,
                status: status?,
                requested_at: row.requested_at?,
                expires_at: row.expires_at?,
                expired: row.expired?,
                decided_at: row.decided_at,
                decided_by: row.decided_by,
                note: row.note,
            })
        };
        approvals.extend(approval());
        plan = Some(PlanRow {
            status: row.status,
            doc_version: row.doc_version,
            doc: row.doc,
            digest: row.digest,
            created_at: row.created_at,
            updated_at: row.updated_at,
        });
    }
    let plan = plan.ok_or(Error::NotFound)?.open(plan_id, tx.tenant())?;
    Ok((plan, approvals))
}

/// Moves a request, if it is still there and such a move exists.
pub(super) async fn update_status(
    tx: &mut Tx,
    approval_id: ApprovalId,
    from: ApprovalStatus,
    to: ApprovalStatus,
    by: &str,
    note: Option<&str>,
) -> Result<(), Error> {
    let conflict = || Error::Conflict {
        constraint: "approval_status".to_owned(),
    };
    if !from.may_become(to) {
        return Err(conflict());
    }
    let updated = sqlx::query!(
        // Using a grant is no answer to the request: who answered, and when, stays.
        "UPDATE approval SET status = $3, decided_at = CASE WHEN $3 = 'consumed' THEN decided_at ELSE db_now() END,
           decided_by = CASE WHEN $3 = 'consumed' THEN decided_by ELSE $4 END, note = coalesce($5, note)
         WHERE tenant_id = current_tenant() AND approval_id = $1 AND status = $2",
        approval_id.uuid(),
        from.as_str(),
        to.as_str(),
        by,
        note,
    )
    .execute(&mut **tx)
    .await?;
    if updated.rows_affected() == 1 {
        Ok(())
    } else {
        Err(conflict())
    }
}

/// Closes the open requests of the incident's superseded plans.
pub(super) async fn close_superseded(tx: &mut Tx, incident: IncidentId, by: &str) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE approval SET status = 'revoked', decided_at = db_now(), decided_by = $2
         FROM plan p WHERE p.plan_id = approval.plan_id AND p.tenant_id = current_tenant() AND p.incident_id = $1
           AND p.status = 'superseded' AND approval.tenant_id = current_tenant() AND approval.status IN ('pending', 'granted')",
        incident.uuid(),
        by,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps the signed yes.
pub(super) async fn insert_grant(
    tx: &mut Tx,
    approval_id: ApprovalId,
    person_id: PersonId,
    signed: &Signed,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO approval_grant (approval_id, tenant_id, statement, key_id, signature, approver_person_id, granted_at)
         VALUES ($1, current_tenant(), $2, $3, $4, $5, db_now())",
        approval_id.uuid(),
        signed.statement,
        signed.key_id,
        &signed.signature[..],
        person_id.uuid(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The signed yes to a request; unverified.
pub async fn find_grant(tx: &mut Tx, approval_id: ApprovalId) -> Result<Option<Signed>, Error> {
    let row = sqlx::query!(
        "SELECT statement, key_id, signature FROM approval_grant WHERE tenant_id = current_tenant() AND approval_id = $1",
        approval_id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let signature = row.signature.try_into();
        Ok(Signed {
            statement: row.statement,
            key_id: row.key_id,
            signature: signature.map_err(|_| Error::Corrupt("approval_grant.signature".to_owned()))?,
        })
    })
    .transpose()
}

/// Open requests whose time has passed, and the plans that they are of. Not locked: plans are locked before approvals.
pub(super) async fn list_due(tx: &mut Tx) -> Result<Vec<(ApprovalId, PlanId, ApprovalStatus)>, Error> {
    let rows = sqlx::query!(
        "SELECT approval_id, plan_id, status FROM approval
         WHERE tenant_id = current_tenant() AND status IN ('pending', 'granted') AND expires_at <= db_now()
         ORDER BY plan_id LIMIT 200"
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.approval_id.into(), row.plan_id.into(), row.status.parse()?)))
        .collect()
}

/// In how many seconds the next open request expires.
pub(super) async fn next_due_secs(tx: &mut Tx) -> Result<Option<i64>, Error> {
    let secs = sqlx::query_scalar!(
        "SELECT ceil(extract(epoch FROM min(expires_at) - db_now()))::bigint FROM approval
         WHERE tenant_id = current_tenant() AND status IN ('pending', 'granted')"
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(secs.map(|secs| secs.max(1)))
}

/// Gives every open request that has no job to end it its job again.
pub(super) async fn insert_lost_jobs(tx: &mut Tx) -> Result<u64, Error> {
    let found = sqlx::query!(
        "INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
         SELECT gen_random_uuid(), $1, a.tenant_id, a.approval_id, a.expires_at + interval '1 second' FROM approval a
         WHERE a.tenant_id = current_tenant() AND a.status IN ('pending', 'granted')
           AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = $1 AND j.tenant_id = a.tenant_id AND j.subject = a.approval_id)
         ON CONFLICT DO NOTHING",
        super::EXPIRY_JOB,
    );
    Ok(found.execute(&mut **tx).await?.rows_affected())
}

/// Generation of the installation: raised by a restore, which voids every signature of before.
/// Approvals that were given and not used.
pub(super) async fn list_granted(tx: &mut Tx) -> Result<Vec<(ApprovalId, PlanId)>, Error> {
    let rows = sqlx::query!(
        "SELECT approval_id, plan_id FROM approval WHERE tenant_id = current_tenant() AND status = 'granted'"
    )
    .fetch_all(&mut **tx)
    .await?;
    let ids = rows.into_iter().map(|row| {
        (
            ApprovalId::from_uuid(row.approval_id),
            PlanId::from_uuid(row.plan_id),
        )
    });
    Ok(ids.collect())
}

pub(super) async fn generation(tx: &mut Tx) -> Result<i64, Error> {
    let generation = sqlx::query_scalar!("SELECT generation FROM installation")
        .fetch_one(&mut **tx)
        .await?;
    Ok(generation)
}

fn tier(text: &str) -> Result<Tier, Error> {
    [Tier::Standard, Tier::Elevated]
        .into_iter()
        .find(|tier| tier.as_str() == text)
        .ok_or_else(|| Error::Corrupt(format!("approval tier `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_ends() {
        use ApprovalStatus::{Consumed, Denied, Expired, Granted, Pending, Revoked};
        for end in [Denied, Expired, Consumed, Revoked] {
            assert!(
                ApprovalStatus::ALL.iter().all(|to| !end.may_become(*to)),
                "{end:?}"
            );
        }
        for (from, to) in [
            (Pending, Consumed),
            (Granted, Pending),
            (Granted, Granted),
            (Granted, Denied),
        ] {
            assert!(!from.may_become(to), "{from:?} to {to:?}");
        }
        assert!(Pending.may_become(Granted) && Granted.may_become(Consumed));
    }
}
