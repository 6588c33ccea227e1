//! `carapulse db upgrade`: our own Postgres on another major version.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Exit, Failure};
use crate::{
    config::{Config, Database},
    roles::database,
    store::embedded,
};

/// Subcommands of `db`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring our own database to a newer major version of Postgres; no process may run it meanwhile
    Upgrade(Upgrade),
}

/// `carapulse db upgrade`.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The major version; default: the one that new databases get
    #[arg(long, value_name = "MAJOR")]
    to: Option<u32>,
}

pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    let Command::Upgrade(Upgrade { to }) = command;
    let database: Database = config.get()?;
    if database.url.is_some() {
        return Err(Failure::of(
            Exit::Usage,
            "database.url names a server that somebody else runs: upgrade it there",
        ));
    }
    let settings = database::own_settings(config).with_progress(|line| outln!("{line}"));
    match embedded::upgrade(&settings, *to)
        .await
        .context("nothing was changed")?
    {
        None => outln!("the database is of that version already"),
        Some(done) => {
            outln!(
                "upgraded from Postgres {} to {}: {} rows; the old data is in {} and may be deleted",
                done.from,
                done.to,
                done.rows,
                done.old_data.display()
            );
        }
    }
    Ok(())
}
