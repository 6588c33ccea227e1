//! The HTTP surface over real sockets, on a database of the test's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod access;
mod input;
mod lists;
mod logs;
mod plans;
mod targets;
pub(crate) mod world;
