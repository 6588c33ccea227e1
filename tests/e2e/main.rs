//! The whole path on real parts: a Kubernetes API server with simulated nodes, an Alertmanager, our own Postgres, our
//! processes, the sandboxed kubectl. `cargo xtask test --real` sets up what these tests are told about; a server that is
//! missing is an error, never a skip.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and make what they need"
)]

mod alertmanager;
mod api;
#[path = "../it/approved.rs"]
#[expect(dead_code, reason = "each binary uses its own part")]
mod approved;
mod by_hand;
mod cluster;
mod git_https;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "each binary uses its own part")]
mod harness;
mod installation;
mod kubectl;
mod out_of_memory;
mod postgres_upgrade;
mod refusals;
mod roll_out;
mod shadow;
#[path = "../it/world/mod.rs"]
#[expect(dead_code, reason = "each binary uses its own part")]
mod world;

/// A path that `cargo xtask test --real` gives.
fn given(name: &str) -> std::path::PathBuf {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask test --real` starts these tests"))
        .into()
}
