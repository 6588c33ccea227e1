//! The tests that need Postgres: one binary, a module an area, a database a test.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and make what they need"
)]

mod embedded;
mod harness;
mod isolation;
mod migrate;
mod serve;
mod store;
