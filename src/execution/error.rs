//! What can go wrong while an execution is driven.

use crate::{
    domain::{ExecutionId, run::Resolution},
    store,
};

/// Why an execution could not be started, asked or moved on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody with a newer epoch holds the execution; what was to be written was not.
    #[error("the lease on this execution was lost")]
    LostLease,
    /// The stored bytes of the plan are not those that were approved.
    #[error("the stored plan of {0} is not the one that was approved")]
    PlanChanged(ExecutionId),
    /// A plan without steps, or one that writes without an approval.
    #[error("the plan cannot be executed: {0}")]
    NotExecutable(&'static str),
    /// Nothing by that id for this tenant.
    #[error("there is no execution {0}")]
    NotFound(ExecutionId),
    /// The request makes no sense for the execution's status.
    #[error("the execution is {status}: {remedy}")]
    Status {
        /// Its status.
        status: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The person may not ask this.
    #[error("{0}")]
    Forbidden(String),
    /// A resolution for a step that the plan does not have.
    #[error("the plan has no step {step} to resolve as {resolution:?}")]
    NoSuchStep {
        /// Ordinal that was given.
        step: u32,
        /// What was to be said of it.
        resolution: Resolution,
    },
    /// No checkpoint covered the export in time.
    #[error("no signed checkpoint covers the export yet: is the sequencer (role orchestrator) running?")]
    NotSigned,
    /// A stored document does not read.
    #[error("a stored document does not read: {0}")]
    Corrupt(String),
    /// Whoever asks could not be looked at.
    #[error(transparent)]
    Approval(#[from] crate::approval::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] crate::audit::Error),
    /// A message to people.
    #[error(transparent)]
    Notify(#[from] crate::notify::Error),
}
