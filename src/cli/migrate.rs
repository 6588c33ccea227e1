//! `carapulse migrate up|down|redo|status|version`.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use crate::{
    config::{Config, Database, resolve},
    roles::database,
    store::{
        Address, DbRole,
        migrate::{Entry, Migrator, Options, SchemaState},
    },
};

/// `carapulse migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(subcommand)]
    command: Command,
    /// The owner's database: an address, or a reference to one (env:NAME, file:PATH). Default: the configured one, else
    /// our own
    #[arg(long, global = true, value_name = "REF")]
    dsn: Option<String>,
    /// How long to wait for another migration and for each lock: 500ms, 10s, 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    lock_timeout: Duration,
    /// How long one statement may take
    #[arg(long, global = true, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    statement_timeout: Duration,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

/// What to do with the schema.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Apply every migration that is missing
    Up,
    /// Take back the last migrations, highest first
    Down {
        /// How many
        #[arg(long, default_value_t = 1, conflicts_with = "all")]
        steps: usize,
        /// All of them
        #[arg(long)]
        all: bool,
        /// Even if rows are deleted with it
        #[arg(long)]
        discard_data: bool,
    },
    /// Take back the last migration and apply it again
    Redo {
        /// Even if rows are deleted with it
        #[arg(long)]
        discard_data: bool,
    },
    /// Every migration, and when it was applied
    Status,
    /// The database's version and this binary's
    Version,
}

/// Runs it on the address that the command line names, else the configured one, else our own server.
pub(super) async fn run(migrate: &Migrate, config: &Config) -> anyhow::Result<()> {
    if let Some(address) = migrate.address()? {
        return run_on(migrate, &address, None).await;
    }
    let database: Database = config.get()?;
    if let Some(address) = database::configured(config, &database, DbRole::Owner)? {
        return run_on(migrate, &address, Some(&database)).await;
    }
    if !database::own_exists(config) && !migrate.makes_own() {
        outln!(
            "there is no database yet: `carapulse serve` or `carapulse migrate up` makes our own in {}",
            config.data_dir().display()
        );
        return Ok(());
    }
    let own = database::borrow_own(config).await?;
    let result = run_on(migrate, &own.address, None).await;
    own.server.stop().await?;
    result
}

async fn run_on(migrate: &Migrate, address: &Address, database: Option<&Database>) -> anyhow::Result<()> {
    let discard_data = match migrate.command {
        Command::Down { discard_data, .. } | Command::Redo { discard_data } => discard_data,
        _ => false,
    };
    let options = Options {
        lock_timeout: migrate.lock_timeout,
        statement_timeout: migrate.statement_timeout,
        dry_run: migrate.dry_run,
        discard_data,
    };
    let mut migrator = Migrator::connect(address, options).await?;
    let say = |done: &'static str, would: &'static str| if migrate.dry_run { would } else { done };
    match migrate.command {
        Command::Up => {
            report(
                say("applied", "would apply"),
                "the schema is up to date",
                &migrator.up().await?,
            );
            if let Some(database) = database.filter(|_| !migrate.dry_run) {
                set_passwords(&mut migrator, database).await?;
            }
        }
        Command::Down { steps, all, .. } => {
            let count = if all { usize::MAX } else { steps };
            let done = migrator.down(count).await?;
            report(say("took back", "would take back"), "nothing is applied", &done);
        }
        Command::Redo { .. } => {
            report(
                say("redid", "would redo"),
                "nothing is applied",
                &migrator.redo().await?,
            );
        }
        Command::Status => status(&migrator.status().await?),
        Command::Version => version(migrator.version().await?),
    }
    Ok(migrator.close().await?)
}

/// The serving roles get the passwords that the configuration knows for them.
async fn set_passwords(migrator: &mut Migrator, database: &Database) -> anyhow::Result<()> {
    for role in DbRole::SERVING {
        let Some(password) = &database.login(role).password else {
            continue;
        };
        let password = resolve(password)?;
        migrator.set_password(role, password.expose_secret()).await?;
        outln!("set the password of {}", role.name());
    }
    Ok(())
}

impl Migrate {
    /// Only what changes the schema for good is a reason to make a database.
    const fn makes_own(&self) -> bool {
        matches!(self.command, Command::Up) && !self.dry_run
    }

    /// The address given on the command line, read where it points.
    ///
    /// # Errors
    /// When the reference leads nowhere or to something that is no address.
    pub(super) fn address(&self) -> anyhow::Result<Option<Address>> {
        let Some(dsn) = &self.dsn else { return Ok(None) };
        let text = match dsn.parse() {
            Ok(reference) => resolve(&reference)?.expose_secret().to_owned(),
            Err(_) => dsn.clone(),
        };
        Ok(Some(text.parse().context("--dsn")?))
    }
}

fn report(verb: &str, nothing: &str, entries: &[Entry]) {
    if entries.is_empty() {
        outln!("{nothing}");
    }
    for entry in entries {
        outln!("{verb} V{}__{}", entry.version, entry.name);
    }
}

fn status(entries: &[Entry]) {
    for entry in entries {
        let applied = entry.applied_at.as_deref().unwrap_or("not applied");
        let unknown = if entry.known {
            ""
        } else {
            "  (by a newer carapulse)"
        };
        outln!("V{:<4} {:<28} {applied}{unknown}", entry.version, entry.name);
    }
}

fn version(state: SchemaState) {
    match state {
        SchemaState::Current(version) => outln!("{version}"),
        SchemaState::Behind { applied, wanted } => {
            outln!("{applied} (this binary needs {wanted}: run `carapulse migrate up`)");
        }
        SchemaState::Ahead { applied, wanted } => outln!("{applied} (newer than this binary's {wanted})"),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong = || format!("`{text}` is no time: a number and ms, s or m, such as 10s");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "-1s", "1h", "1.5s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
