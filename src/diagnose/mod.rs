//! What is wrong, by rules: no model, no IO, no clock.
//!
//! In: what an alert says ([`SignalFacts`]), a frozen [`Snapshot`] and the registered [`Target`]. Out: a [`Diagnosis`].
//! Always holds: every argument of a [`Remedy`] is the name of a node of the snapshot or a field of the target, and text
//! in labels, annotations, events and commit messages can change it only by choosing among those; when the evidence is
//! missing, stale or contradicts itself the verdict is [`Verdict::Unknown`], with no remedy.
//! Not here: steps and tools (`plan`), and second opinions.

mod blame;
mod conclude;
mod evidence;
mod finding;
mod remedy;
mod rules;
pub mod store;
mod subject;
#[cfg(test)]
mod tests;
mod view;

pub use finding::{Diagnosis, EvidenceKind, EvidenceRef, Finding, Remedy, Rule, SuspectChange, Verdict};

use crate::{context::Snapshot, domain::Target, intake::signal::SignalFacts};

/// Says what is wrong on `target`, which change is most likely behind it, and what would undo it. Pure.
#[must_use]
pub fn run(signal: &SignalFacts, snapshot: &Snapshot, target: &Target) -> Diagnosis {
    conclude::conclude(signal, snapshot, target)
}
