//! May this be done? One question, one answer, from the active bundle of Rego rules.
//!
//! In: an [`Input`] made of typed steps, a registered target and a verified actor. Out: a [`Decision`] with violations,
//! constraints and the digest of the bundle that gave it.
//! Always holds: whatever fails, is undefined, blank, slow or malformed is a denial; an input and its answer are stored
//! exactly; a bundle answers nobody before it compiled, used only listed functions and passed the canaries in both engines.
//! Not here: a second opinion (`shadow`, which is told of decisions as their [`Witness`]), who may approve (`approval`, by
//! person), what a warrant needs beyond policy (`warrant`), time (windows and freezes are computed in Rust and given as
//! booleans).

mod answer;
mod bundle;
mod canary;
mod decision;
mod engine;
mod input;
pub mod store;

pub use bundle::{Bundle, BundleError};
pub use decision::{Constraints, Decision, Outcome, Violation};
pub use engine::{Engine, interpret};
pub use input::{
    ActionInput, ActionKind, ActorInput, BlastRadius, FlagsInput, Input, Phase, RiskInput, StepInput,
    TargetInput, input_schema,
};

/// Is told of each decision after it was made, and can change nothing about it.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// Must return at once: whoever asked is still waiting.
    fn decided(&self, input: &Input, decision: &Decision);
}

#[cfg(test)]
mod parity;
#[cfg(test)]
mod truth_table;
