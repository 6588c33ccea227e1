//! From a signal to a request for approval, as one durable job.
//!
//! In: an incident that intake opened. Out: a stored snapshot and diagnosis, and then a plan that waits for approval; or an
//! escalation that says what is not known. Always holds: each stage is stored before the next begins and is idempotent on
//! (incident, stage), so that a crash repeats reads only; labels choose among registered targets and name nothing; not
//! knowing ends with a person, never with a guess. Not here: rules (`diagnose`), steps (`plan`), the yes (`approval`).

mod error;
mod find_target;
mod git_reads;
mod look;
mod lost;
mod propose;
mod store;
mod work;

pub use error::Error;
pub use git_reads::Reads;
pub use lost::find_lost;
pub use work::{Investigator, Settings};
