//! `carapulse demo`: a real incident from alert to audited fix, on this machine, with nothing set up before.
//!
//! Real: Postgres, git, the processes, the sandbox, policy, signatures, the audit log. Simulated, and said to be: the metrics of
//! the demo's world, which follow from the state of its repository. With `--kubeconfig` the incident is a roll-out on that
//! cluster, in a namespace of its own.

mod api;
mod children;
mod ending;
mod fix;
mod kube;
mod kubectl;
mod play;
mod scene;
mod screen;
mod server;
mod setup;
mod story;

use std::path::PathBuf;

use clap::Args;

use super::Exit;

/// Play a whole incident on this machine: no cluster, no key, no set-up
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep everything running afterwards and print the addresses
    #[arg(long)]
    keep: bool,
    /// Let the fix fail to help, to see the rollback
    #[arg(long, conflicts_with = "kubeconfig")]
    fail_verify: bool,
    /// Kill the orchestrator with SIGKILL in the middle of the fix, to see that nothing is lost or done twice
    #[arg(long)]
    kill: bool,
    /// Folder of the demo's Postgres, reused the next time
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Play a roll-out incident on the cluster of this kubeconfig instead; makes a namespace of its own and deletes it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

/// Plays the demo.
pub(super) async fn run(demo: &Demo) -> anyhow::Result<Exit> {
    play::play(demo).await
}
