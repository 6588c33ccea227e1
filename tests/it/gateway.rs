//! The HTTP surface over real sockets, on a database of the test's own.

mod access;
mod agent;
mod input;
mod lists;
mod logs;
mod people;
mod plans;
mod secrets;
mod targets;
pub(crate) mod world;
