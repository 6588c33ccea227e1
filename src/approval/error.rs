//! What can go wrong with approvals.

use super::Refused;
use crate::{audit, domain::CanonicalError, notify, plan, store, warrant::statement::StatementError};

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
