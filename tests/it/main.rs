//! The tests that need Postgres: one binary, a module an area, a database a test.

mod harness;
mod isolation;
mod migrate;
mod store;
