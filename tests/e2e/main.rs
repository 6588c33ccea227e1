//! End-to-end tests against real servers: `cargo xtask test --real`. A server that is missing is an error, never a skip.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and make what they need"
)]

#[path = "../it/approved.rs"]
#[expect(dead_code, reason = "each binary uses its own part")]
mod approved;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "each binary uses its own part")]
mod harness;
mod kubectl;
