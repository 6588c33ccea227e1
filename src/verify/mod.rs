//! Stage 6: did it work? Assertions in, verdicts and evidence out.
//!
//! In: a plan's assertions and a way to read. Out: a [`Look`]: one verdict an assertion, with the answer it rests on.
//! Always holds: absent, stale, failing or unreadable answers are `unknown`, never `met`; success is measured.
//! Not here: when to look and what a verdict leads to, which is the machine's.

mod look;

pub use crate::tools::judge;
pub use look::{Judged, Look, look};
