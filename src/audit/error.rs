//! What can go wrong with the log.

use super::{merkle::ProofError, note::NoteError};
use crate::{domain::CanonicalError, store};

/// A failed operation on the audit log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transaction is not bound to the tenant of the context.
    #[error("an audit event must be recorded in a transaction of its own tenant")]
    Tenant,
    /// The details have no canonical form.
    #[error("the details of an audit event cannot be written: {0}")]
    Details(#[from] CanonicalError),
    /// The details are something else than an object.
    #[error("the details of an audit event must be an object")]
    DetailsObject,
    /// The machine gave no random bytes.
    #[error("no random bytes for a salt")]
    Random,
    /// Position or sizes out of range, or stored nodes that do not fit.
    #[error("no such proof: {0}")]
    Proof(#[from] ProofError),
    /// A node that the tree needs is not stored.
    #[error("the log lacks a node of its tree: run `carapulse audit verify`")]
    MissingNode,
    /// The signing key or a note cannot be used.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Another sequencer took over: this one must stop.
    #[error("another sequencer has taken over the log")]
    Superseded,
    /// A checkpoint outside the database is ahead of the log in it: the database was restored from an older state.
    #[error(
        "the checkpoint {path} was published, but the log in the database does not reach it (it has {size} events of generation \
         {generation}): the database was restored from an older state, or events were removed. Nothing is sequenced until an \
         admin has looked: run `carapulse audit verify`, then `carapulse restore acknowledge`"
    )]
    Restored {
        /// Path of the published checkpoint.
        path: String,
        /// Size of the log in the database.
        size: u64,
        /// Generation of the installation in the database.
        generation: i64,
    },
    /// A checkpoint outside the database contradicts the log in it.
    #[error(
        "the published checkpoint {path} contradicts the log in the database: events were changed, or two installations share one folder"
    )]
    Forked {
        /// Path of the published checkpoint.
        path: String,
    },
    /// A bundle that cannot be written.
    #[error(transparent)]
    Bundle(#[from] super::bundle::ArchiveError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The object store.
    #[error("checkpoint storage: {0}")]
    Objects(#[source] store::Error),
}
