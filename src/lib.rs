//! Carapulse: signal → context → diagnosis → plan → policy → approval → execution → verification → (rollback) → audit.
//!
//! The modules, in the order in which data flows; `ARCHITECTURE.md` has the map.

pub mod agent;
pub mod approval;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connectors;
pub mod context;
pub mod diagnose;
pub mod domain;
pub mod execution;
pub mod gateway;
pub mod intake;
pub mod investigation;
pub mod notify;
pub mod plan;
pub mod policy;
pub mod roles;
pub mod sandbox;
pub mod shadow;
pub mod store;
pub mod tools;
pub mod verify;
pub mod warrant;
