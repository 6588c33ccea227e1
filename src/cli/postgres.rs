//! `carapulse postgres run` (hidden): our own Postgres for tests and tools. It prints `DATABASE_URL=…` and ends when its
//! standard input does, so that it never outlives whoever started it.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use tokio::io::AsyncReadExt;

use crate::store::{
    DbRole,
    embedded::{Server, Settings},
};

/// Subcommands of `postgres`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server until standard input ends
    Run {
        /// Keep the database in this folder; without, it is a temporary one without durability
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    let Command::Run { data } = command;
    let settings = data.map_or_else(Settings::temporary, Settings::lasting);
    let mut server = Server::start(settings.with_progress(|line| eprintln!("{line}"))).await?;
    let mut out = std::io::stdout();
    writeln!(out, "DATABASE_URL={}", server.address(DbRole::Owner).expose())?;
    out.flush()?;
    tokio::select! {
        () = until_stdin_ends() => {}
        stopped = crate::cli::stop_signal() => stopped?,
        how = server.exited() => anyhow::bail!("Postgres {how}"),
    }
    server.stop().await?;
    Ok(())
}

async fn until_stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 256];
    while matches!(stdin.read(&mut buffer).await, Ok(read) if read > 0) {}
}
