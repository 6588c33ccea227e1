//! Carapulse: signal → context → diagnosis → plan → policy → approval → execution → verification → (rollback) → audit.
//!
//! The modules, in the order in which data flows; `ARCHITECTURE.md` has the map.

pub mod cli;
pub mod config;
pub mod domain;
pub mod execution;
pub mod roles;
pub mod store;
