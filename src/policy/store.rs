//! Bundles by digest, the pointer to the active one, and every decision with its exact input and output.
//!
//! Bundles and the pointer belong to the installation, not to a tenant; their audit events go to the tenant of the person
//! who moved the pointer.

use serde_json::json;
use uuid::Uuid;

use super::{Bundle, BundleError, Decision, Engine, Input};
use crate::{
    audit,
    domain::{CanonicalError, DecisionId, Digest, ExecutionId, OpCtx, PlanId, canonical},
    store::{self, Tx},
};

/// What can go wrong with stored policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The bundle does not pass.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// An input or an answer has no canonical form.
    #[error("a policy decision cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Which bundle is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// The bundle.
    pub digest: Digest,
    /// Raised by one with every activation; named by the next.
    pub version: i64,
}

/// Stores a bundle; nothing changes by it. Submitting the same one again does nothing.
pub async fn submit(tx: &mut Tx, ctx: &OpCtx, bundle: &Bundle) -> Result<(), Error> {
    let digest = bundle.digest();
    let inserted = sqlx::query!(
        "INSERT INTO policy_bundle (digest, body, submitted_by) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
        &digest.as_bytes()[..],
        bundle.bytes(),
        ctx.actor.name,
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() > 0 {
        let event = audit::Event::new("policy.submit", json!({ "bundle": digest }));
        audit::record(tx, ctx, event).await?;
    }
    Ok(())
}

/// The active bundle; none before the first start has made one.
pub async fn active(tx: &mut Tx) -> Result<Option<Active>, Error> {
    let row = sqlx::query!("SELECT digest, version FROM policy_active")
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        let digest = Digest::from_slice(&row.digest).ok_or_else(|| corrupt("policy_active.digest"))?;
        Ok(Active {
            digest,
            version: row.version,
        })
    })
    .transpose()
}

/// A stored bundle, digested again.
pub async fn get(tx: &mut Tx, digest: Digest) -> Result<Bundle, Error> {
    let body = sqlx::query_scalar!(
        "SELECT body FROM policy_bundle WHERE digest = $1",
        &digest.as_bytes()[..]
    )
    .fetch_one(&mut **tx)
    .await?;
    let bundle = Bundle::from_bytes(&body)?;
    if bundle.digest() != digest {
        return Err(corrupt("policy_bundle.body"));
    }
    Ok(bundle)
}

/// Moves the pointer to a submitted bundle, if it still stands at `expected` (0 when there was none): compiled and tested
/// first, audited. Another version there is a conflict.
pub async fn activate(tx: &mut Tx, ctx: &OpCtx, digest: Digest, expected: i64) -> Result<Active, Error> {
    let bundle = get(tx, digest).await?;
    Engine::from_bundle(&bundle)?;
    let before = active(tx).await?;
    let version = sqlx::query_scalar!(
        "INSERT INTO policy_active (digest, version, activated_by) SELECT $1, 1, $2 WHERE $3::bigint = 0
         ON CONFLICT (only_row) DO NOTHING RETURNING version",
        &digest.as_bytes()[..],
        ctx.actor.name,
        expected,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let version = match version {
        Some(version) => Some(version),
        None => {
            sqlx::query_scalar!(
                "UPDATE policy_active SET digest = $1, version = version + 1, activated_by = $2, activated_at = clock_timestamp()
                 WHERE version = $3 RETURNING version",
                &digest.as_bytes()[..],
                ctx.actor.name,
                expected,
            )
            .fetch_optional(&mut **tx)
            .await?
        }
    };
    let version = version.ok_or_else(|| store::Error::Conflict {
        constraint: "policy_active_version".to_owned(),
    })?;
    let mut details = json!({ "bundle": digest, "version": version });
    if let Some(before) = before {
        details["before"] = json!(before.digest);
    }
    let event = audit::Event::new("policy.activate", details).decision(audit::Decision::Allow);
    audit::record(tx, ctx, event).await?;
    Ok(Active { digest, version })
}

/// The active bundle; on the first start, the one that this binary was built with.
pub async fn ensure_builtin(tx: &mut Tx, ctx: &OpCtx) -> Result<Active, Error> {
    if let Some(active) = active(tx).await? {
        return Ok(active);
    }
    let bundle = Bundle::builtin();
    submit(tx, ctx, &bundle).await?;
    activate(tx, ctx, bundle.digest(), 0).await
}

/// A decision with its exact question and answer, ready to be kept: the argument of the database's `keep_decision`.
#[derive(Debug, Clone, sqlx::Type)]
#[sqlx(type_name = "decision_row")]
pub struct DecisionRow {
    decision_id: Uuid,
    bundle_digest: Vec<u8>,
    action: String,
    decision: String,
    plan_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    step: Option<i32>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl DecisionRow {
    /// The row of a decision about a plan, or about a step of its execution.
    pub fn new(
        ctx: &OpCtx,
        input: &Input,
        decision: &Decision,
        plan_id: PlanId,
        step: Option<(ExecutionId, u32)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            decision_id: ctx.id::<DecisionId>().uuid(),
            bundle_digest: decision.bundle.as_bytes().to_vec(),
            action: input.action.name.clone(),
            decision: decision.decision.as_str().to_owned(),
            plan_id: Some(plan_id.uuid()),
            execution_id: step.map(|(execution_id, _)| execution_id.uuid()),
            step: step.and_then(|(_, step)| i32::try_from(step).ok()),
            input: canonical::to_bytes(input)?,
            output: canonical::to_bytes(decision)?,
        })
    }
}

/// Keeps a decision with its exact question and answer, in a statement of its own.
pub async fn insert_decision(tx: &mut Tx, row: DecisionRow) -> Result<DecisionId, Error> {
    let id = DecisionId::from(row.decision_id);
    sqlx::query!(r#"SELECT keep_decision($1) AS "kept: ()""#, row as _)
        .execute(&mut **tx)
        .await?;
    Ok(id)
}

/// A stored decision.
#[derive(Debug, Clone)]
pub struct StoredDecision {
    /// Its id.
    pub decision_id: DecisionId,
    /// The exact question.
    pub input: Input,
    /// The exact answer.
    pub decision: Decision,
}

/// All decisions about a plan, oldest first.
pub async fn list_of_plan(tx: &mut Tx, plan_id: PlanId) -> Result<Vec<StoredDecision>, Error> {
    let plan: Uuid = plan_id.uuid();
    let rows = sqlx::query!(
        "SELECT decision_id, input, output FROM policy_decision
         WHERE tenant_id = current_tenant() AND plan_id = $1 ORDER BY decided_at, decision_id",
        plan
    )
    .fetch_all(&mut **tx)
    .await?;
    let read =
        |row: &[u8]| store::Error::Corrupt(format!("policy_decision of {plan_id}: {} bytes", row.len()));
    rows.into_iter()
        .map(|row| {
            Ok(StoredDecision {
                decision_id: row.decision_id.into(),
                input: canonical::from_bytes(&row.input).map_err(|_| read(&row.input))?,
                decision: canonical::from_bytes(&row.output).map_err(|_| read(&row.output))?,
            })
        })
        .collect()
}

fn corrupt(what: &str) -> Error {
    Error::Store(store::Error::Corrupt(format!("{what} does not fit its digest")))
}
