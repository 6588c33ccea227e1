//! The tests that need Postgres: one binary, a module an area, a database a test.

mod audit;
mod gateway;
mod harness;
mod intake;
mod isolation;
mod migrate;
mod notify;
mod store;
