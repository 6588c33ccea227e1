//! Stage 6: did it work? Assertions in, verdicts and evidence out.
//!
//! In: the name of a running execution. Out: a [`Look`]: one verdict an assertion, with the answer it rests on.
//! Always holds: absent, stale, failing or unreadable answers are `unknown`, never `met`; success is measured, and by the tool-router,
//! who keeps each verdict: who drives an execution cannot make one up.
//! Not here: when to look and what a verdict leads to, which is the machine's.

mod look;

pub use crate::tools::{Judged, Look, judge};
pub use look::look;
