//! Stage 7: drive an approved plan to its end, or back.
//!
//! In: [`Approved`] plans. Out: effects in the managed systems, through the tool-router only; an end that means what it
//! says (`succeeded`, `failed`, `rolled_back`, `rollback_failed`, `cancelled`) or `needs_attention`.
//! Always holds: the journal in Postgres is the only truth, and the machine runs inside its transactions; a write is named
//! to the tool-router, never described; an intent is committed before the act; a step found running is probed before
//! anything is done again; whoever does not hold the lease's epoch writes nothing.
//! Not here: what an act does (`tools`), whether it may (`warrant`), what success is (`verify`).

mod ask;
mod drive;
mod engine;
mod error;
mod export;
mod list;
mod start;
mod store;

pub use crate::domain::machine;
pub use ask::{cancel, resolve, rollback};
pub use engine::{Embedded, Settings};
pub use error::Error;
pub use export::export;
pub use list::{Execution, StepRow, find, list, steps};
pub use start::{find_lost, start};
