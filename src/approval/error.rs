//! What can go wrong with approvals.

use serde_json::json;

use super::Refused;
use crate::{
    audit,
    domain::{CanonicalError, OpCtx, PlanId},
    notify, plan,
    store::{self, Tx},
    warrant::statement::StatementError,
};

/// A failed operation on an approval.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of approving says no; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A stored approval proves nothing.
    #[error("the stored approval is not valid: {0}")]
    Invalid(String),
    /// The statement cannot be signed or verified.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] plan::store::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The message to people.
    #[error(transparent)]
    Notify(#[from] notify::Error),
    /// Something has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl Error {
    /// There is no such plan in this tenant.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Plan(plan::store::Error::Store(store::Error::NotFound))
                | Self::Store(store::Error::NotFound)
        )
    }

    /// Short and stable, for audit events and problems: a refusal's own code, else what kind of failure it is.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.code,
            Self::Invalid(_) => "approval_invalid",
            Self::Statement(StatementError::UnknownKey(_)) => "approval_unknown_key",
            Self::Statement(_) => "approval_signature",
            Self::Plan(plan::store::Error::Store(store::Error::Corrupt(_))) => "plan_corrupt",
            Self::Store(store::Error::Corrupt(_)) => "approval_corrupt",
            _ => "unavailable",
        }
    }
}

/// Records that an answer or a start was refused, and why, in a transaction of its own: that of the attempt is given up.
pub async fn record_refusal(
    tx: &mut Tx,
    ctx: &OpCtx,
    action: &'static str,
    plan_id: PlanId,
    error: &Error,
) -> Result<(), audit::Error> {
    let details = json!({ "code": error.code(), "why": error.to_string() });
    let event = audit::Event::new(action, details)
        .decision(audit::Decision::Deny)
        .plan(plan_id);
    audit::record(tx, ctx, event).await.map(drop)
}
