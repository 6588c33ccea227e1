//! The command line: parse, choose, run, exit code.

/// Prints a line. A reader that has gone away (`| head`) is no error.
macro_rules! outln {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

mod audit;
pub mod client;
mod config;
mod db;
mod demo;
mod doctor;
pub mod exit;
mod healthcheck;
mod init;
mod migrate;
mod policy;
mod postgres;
mod restore;
mod serve;

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
    /// One setting, over all other sources: gateway.http_addr=:9000
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    client: client::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run roles: the whole of carapulse, or parts of it
    Serve(serve::Serve),
    /// Change the database's schema
    Migrate(migrate::Migrate),
    /// Look after our own Postgres
    #[command(subcommand)]
    Db(db::Command),
    /// Go on after the database was restored from a backup
    Restore(restore::Restore),
    /// Play a whole incident on this machine: no cluster, no key, no set-up
    Demo(demo::Demo),
    /// Prove evidence and the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// The rules by which decisions are made
    #[command(subcommand)]
    Policy(policy::Command),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Say whether this machine and this configuration can do the work
    Doctor,
    /// Ask a role on this machine whether it lives
    Healthcheck(healthcheck::Healthcheck),
    /// Make every key and secret, and a configuration that names them
    Init(init::Init),
    #[command(flatten)]
    Client(client::Command),
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
    // What needs no configuration must not fail for a wrong one.
    let command = match cli.command {
        Command::Init(init) => return init::run(&init).map(|()| Exit::Ok),
        Command::Postgres(command) => return postgres::run(command).await.map(|()| Exit::Ok),
        Command::Policy(policy::Command::Manifest) => {
            policy::manifest();
            return Ok(Exit::Ok);
        }
        Command::Demo(demo) => return demo::run(&demo).await,
        Command::Audit(audit::Command::List(list)) => return client::audit_list(&cli.client, *list).await,
        Command::Audit(command @ audit::Command::Verify(_)) => return audit::run(&command).await,
        Command::Client(command) => {
            let configured = || config::load(cli.config.clone(), cli.set.clone());
            return client::run(&cli.client, command, &configured).await;
        }
        Command::Healthcheck(check) => {
            if let Some(result) = healthcheck::run_elsewhere(&check).await {
                return result.map(|()| Exit::Ok);
            }
            Command::Healthcheck(check)
        }
        command => command,
    };
    let config = config::load(cli.config, cli.set)?;
    if !matches!(command, Command::Serve(_)) {
        crate::roles::install_log(&config.get().unwrap_or_default())?;
    }
    match command {
        Command::Serve(serve) => serve::run(serve, config).await?,
        Command::Migrate(command) => migrate::run(&command, &config).await?,
        Command::Db(command) => db::run(&command, &config).await?,
        Command::Restore(restore) => restore::run(&restore, &config).await?,
        Command::Audit(_) => audit::trust(&config).await?,
        Command::Config(command) => config::run(command, &config)?,
        Command::Policy(command) => policy::run(&command, &config).await?,
        Command::Doctor => doctor::run(&config).await?,
        Command::Healthcheck(check) => healthcheck::run(&check, &config).await?,
        Command::Demo(_) | Command::Client(_) | Command::Init(_) | Command::Postgres(_) => {}
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
