//! The tests that need Postgres: one binary, a module an area, a database a test.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and make what they need"
)]

mod approval;
mod approved;
mod audit;
mod cli_client;
mod crash;
mod embedded;
mod explain;
mod gateway;
mod grounds;
mod harness;
mod intake;
mod isolation;
mod lost;
mod migrate;
mod migrate_schema;
mod notify;
mod plan;
mod policy;
mod restore;
mod roles;
mod rotation;
mod round_trips;
mod router;
mod serve;
mod shadow;
mod store;
mod tamper_plan;
mod warrant;
mod world;
