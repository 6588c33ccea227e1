//! The whole path on real parts: a Kubernetes API server with simulated nodes, an Alertmanager, our own Postgres, our
//! processes, the sandboxed kubectl. `cargo xtask test --real` sets up what these tests are told about.

mod alertmanager;
mod api;
mod cluster;
#[expect(
    dead_code,
    reason = "the harness of the integration tests knows more than is needed here"
)]
#[path = "../it/harness.rs"]
mod harness;
mod installation;
mod out_of_memory;
mod refusals;
mod roll_out;

/// A path that `cargo xtask test --real` gives.
fn given(name: &str) -> std::path::PathBuf {
    #[expect(clippy::disallowed_methods, reason = "what the test's own runner says")]
    let value = std::env::var(name);
    value
        .unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask test --real` starts these tests"))
        .into()
}
