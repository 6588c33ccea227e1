//! The command line: parse, choose, run, exit code.

mod audit;
pub mod exit;
mod migrate;
mod postgres;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// Signal to verified fix, with evidence either way.
#[derive(Debug, Parser)]
#[command(name = "carapulse", version, about, propagate_version = true)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "CARAPULSE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change the database's schema
    Migrate(migrate::Migrate),
    /// Prove evidence and the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Run our own Postgres (for tests and tools)
    #[command(subcommand, hide = true)]
    Postgres(postgres::Command),
}

/// Runs the process' command line to its exit code. An error is one line on standard error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let line = format!("{error:#}").replace('\n', " ");
            eprintln!("carapulse: {line}");
            exit::code(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider is already installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(dispatch(cli));
    // A task that reads standard input cannot be cancelled: it must not hold the process.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Migrate(command) => {
            let address = command.address()?.context("--dsn is needed")?;
            migrate::run(&command, &address).await?;
        }
        Command::Audit(command) => return audit::run(&command).await,
        Command::Postgres(command) => postgres::run(command).await?,
    }
    Ok(Exit::Ok)
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
