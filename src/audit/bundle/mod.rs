//! The evidence bundle of one execution: one tar that proves itself against keys that came another way.
//!
//! In: named parts (the caller gathers them), then leaves, proofs and a checkpoint. Out: the same bytes for the same input; or, on
//! the way back, a [`Report`] with every check and why it passed or failed.
//! Always holds: what comes out of a tar is bounded in size and number and its names are plain; no key is read from a bundle.
//! Not here: which rows go into which part.
//!
//! An event `evidence.export` in the log carries the [`Manifest::content_digest`], so that the signed checkpoint covers every part:
//! the parts first ([`Draft::new`]), then the event, then, once a checkpoint reaches it, [`Draft::seal`].

mod archive;
mod checks;
mod manifest;
mod report;

pub use archive::{ArchiveError, Files, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, read, write};
pub use checks::verify_bundle;
pub use manifest::{Draft, EXPORT_ACTION, JournalLine, Manifest, Part};
pub use report::{Check, Report};
