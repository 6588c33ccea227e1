//! Typed tools: the catalogue, and the router that runs its actions.
//!
//! In: the name of an act ([`ActRef`](crate::domain::run::ActRef)) or a read with its arguments. Out: a report, what a probe
//! saw, or a structured answer. Always holds: a write's arguments come from stored, approved bytes through a
//! [`Warrant`](crate::warrant::Warrant), never from the caller; a row says `claimed` before anything is done and how it ended
//! after; an act that may have happened is never done again, but looked for; output is capped and redacted; whatever runs,
//! runs in the sandbox. Not here: plans, approvals, the order of steps.

mod act;
mod argv;
pub mod catalog;
mod client;
mod fault;
mod judge;
mod look;
mod output;
mod place;
mod prepare;
mod probe;
mod read;
mod record;
mod router;
mod run;
pub mod server;
mod store;

pub use client::{Client, ClientError, ReadError};
pub use judge::{judge, weakest};
pub use look::{Judged, Look};
pub use read::ReadAnswer;
pub use router::{Parts, Router, Settings};

pub(crate) use fault::Fault;
