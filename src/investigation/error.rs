//! What can go wrong while an incident is investigated.

use crate::store;

/// Why an investigation could not go on. The job is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] crate::audit::Error),
    /// A message to people.
    #[error(transparent)]
    Notify(#[from] crate::notify::Error),
    /// The snapshot.
    #[error(transparent)]
    Context(#[from] crate::context::Error),
    /// The request for approval.
    #[error(transparent)]
    Approval(#[from] crate::approval::Error),
    /// The plan's rows.
    #[error(transparent)]
    Plan(#[from] crate::plan::store::Error),
    /// The snapshot's row.
    #[error("the snapshot was not stored: {0}")]
    SnapshotStore(#[from] crate::context::store::StoreError),
    /// The diagnosis' row.
    #[error("the diagnosis was not stored: {0}")]
    DiagnosisStore(#[from] crate::diagnose::store::StoreError),
    /// A source could not be read, and without it nothing can be said.
    #[error("{0}")]
    SourceUnavailable(String),
    /// A stored document does not read.
    #[error("a stored document does not read: {0}")]
    Corrupt(String),
}
