//! Stage 4: what to do, as typed steps with inverses and a way to measure success.
//!
//! In: a [`Proposal`] (typed steps, an intent of one of four kinds, a diagnosis' remedy, or a sentence) and a registered
//! target. Out: a [`Draft`], untrusted; then a [`Checked`] plan whose bytes and digest are fixed, or [`Rejected`] with every
//! problem. Always holds: risk and tier come from typed steps and can only be raised; a plan that writes has an assertion
//! and an inverse (or says that it has none) for every write; what no rule understands has no steps and is never executed;
//! a stored plan is its bytes, and whoever reads it digests them again. Not here: who approves (`approval`), running
//! anything (`execution`), model output (it would enter as steps, like everybody's).

pub mod assertions;
mod brake;
mod check;
mod diff;
mod draft;
mod prior;
mod problem;
mod proposal;
mod reader;
mod remedy;
mod resolve;
mod secret_scan;
mod sentence;
mod status;
pub mod store;
mod stored;
mod tier;
mod typed;

pub use brake::{BrakeLimits, Braked, brake};
pub use check::{Checked, Checks, MAX_STEPS, check};
pub use diff::{DiffLine, RiskSummary, diff, risk_summary};
pub use draft::{Draft, draft};
pub use problem::{Problem, Rejected};
pub use proposal::{AssertionRequest, Intent, Limits, Proposal, StepRequest, Timing, What};
pub use reader::{NoReader, PriorReader};
pub use status::PlanStatus;
pub use stored::{Content, Filter, ListedPlan, Stored};

#[cfg(test)]
mod tests;
