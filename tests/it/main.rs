//! The tests that need Postgres: one binary, a module an area, a database a test.

mod approved;
mod harness;
mod isolation;
mod migrate;
mod router;
mod store;
mod warrant;
