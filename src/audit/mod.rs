//! The audit log: append-only and provable.
//!
//! In: an [`Event`] in the transaction of the change that it tells of. Out: dense positions (which are also the cursors of live
//! events), a Merkle tree over salted leaves, signed checkpoints, inclusion proofs, evidence bundles, and the verification of
//! all of these. `docs/audit-log.md` has the formats.
//! Always holds: recording takes no lock and gives no position; only the leased [`Sequencer`] orders; no key is ever taken from
//! what is being verified.
//! Not here: who may read the log, HTTP, and what the stages record.

pub mod bundle;
pub mod checkpoint;
mod error;
mod event;
pub mod leaf;
mod list;
pub mod merkle;
pub mod note;
mod publish;
pub mod restore;
pub mod sequencer;
mod store;
mod trust;
pub mod verify;

pub use error::Error;
pub use event::{Body, Decision, Event, record, row};
pub use list::{
    Filter, InclusionProof, Leaf, MAX_PAGE, Order, Page, Recorded, SignedCheckpoint, consistency_proof,
    events_after, inclusion_proof, inclusion_proofs, latest_checkpoint, leaves_about, list, log_size,
};
pub use sequencer::Sequencer;
pub use store::EventRow;
pub use trust::{ApprovalKey, Trust, TrustError};

/// How far the sequencer is behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Committed events without a position (counted up to 100 000).
    pub events: u64,
    /// Age of the oldest of them, in seconds.
    pub seconds: f64,
}
