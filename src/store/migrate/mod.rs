//! The schema: applied and taken back step by step, a transaction each, by one runner at a time.
//!
//! In: the owner's address. Out: what was done, or why not. Always holds: an applied migration whose text has changed
//! stops everything; a step that fails leaves no trace; two runners never work at once. The bookkeeping is refinery's
//! (`refinery_schema_history`), on our one Postgres client. Not here: data changes that are too big for a transaction.

mod connection;
mod holders;
mod loss;
mod source;

use std::time::Duration;

use refinery_core::{Migration, Runner, Target};

use self::{connection::Connection, source::Step};
pub use self::{
    holders::Holder,
    loss::Loss,
    source::{Source, builtin},
};
use super::Address;

/// What stopped a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server or a statement.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// Another runner held the lock for longer than the time given.
    #[error("another migration is running: {}", holders::describe(.0))]
    Locked(Vec<Holder>),
    /// What is applied and what this binary carries do not fit together.
    #[error("{0}")]
    History(String),
    /// A step failed; it and everything after it is undone, what came before stays.
    #[error("migration V{version}__{name} failed and left no trace: {message}")]
    Step {
        /// Which.
        version: i32,
        /// Its name.
        name: String,
        /// What the database said.
        message: String,
    },
    /// Taking the step back would delete rows.
    #[error(
        "taking back V{version}__{name} would lose {}; name --discard-data if that is meant",
        loss::describe(.losses)
    )]
    WouldLose {
        /// Which.
        version: i32,
        /// Its name.
        name: String,
        /// Where rows are.
        losses: Vec<Loss>,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How careful to be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long to wait for another runner, and for any lock of a statement.
    pub lock_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// Say what would be done, do nothing.
    pub dry_run: bool,
    /// Let `down` delete rows.
    pub discard_data: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(300),
            dry_run: false,
            discard_data: false,
        }
    }
}

/// One migration, as far as this database is concerned.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Its number.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was applied (RFC 3339), or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<String>,
    /// Whether this binary carries it; a newer one may not.
    pub known: bool,
}

/// How the database's schema stands to this binary's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// The same.
    Current(i32),
    /// The database lacks migrations: this binary must not serve.
    Behind {
        /// Highest applied; 0 when none is.
        applied: i32,
        /// Highest that this binary carries.
        wanted: i32,
    },
    /// A newer binary has migrated: this one still serves.
    Ahead {
        /// Highest applied.
        applied: i32,
        /// Highest that this binary carries.
        wanted: i32,
    },
}

/// Runs migrations on one database.
#[derive(Debug)]
pub struct Migrator {
    connection: Connection,
    steps: Vec<Step>,
    options: Options,
}

impl Migrator {
    /// Connects as the owner, without taking the lock.
    ///
    /// # Errors
    /// [`Error::Store`] when the server cannot be reached.
    pub async fn connect(address: &Address, options: Options) -> Result<Self, Error> {
        Self::with_sources(address, options, builtin()).await
    }

    /// As [`Migrator::connect`], with other migrations than the built-in ones.
    ///
    /// # Errors
    /// [`Error::History`] for a name that is no migration's; else as [`Migrator::connect`].
    pub async fn with_sources(
        address: &Address,
        options: Options,
        sources: &[Source],
    ) -> Result<Self, Error> {
        let steps = source::parse(sources)?;
        let connection = Connection::open(address, options).await?;
        Ok(Self {
            connection,
            steps,
            options,
        })
    }

    /// Applies what is missing, up to the latest. Answers what was (or, dry, would be) applied.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::History`], [`Error::Step`], [`Error::Store`].
    pub async fn up(&mut self) -> Result<Vec<Entry>, Error> {
        self.connection.lock().await?;
        let applied = self.applied().await?;
        let pending = self.pending(&applied)?;
        if self.options.dry_run || pending.is_empty() {
            return Ok(pending.iter().map(Step::entry).collect());
        }
        // refinery verifies again, wraps each step in a transaction of ours and writes its history row.
        let migrations: Vec<Migration> = self.steps.iter().map(|step| step.up.clone()).collect();
        let run = Runner::new(&migrations)
            .set_target(Target::Latest)
            .run_async(&mut self.connection)
            .await;
        let report = match run {
            Ok(report) => report,
            Err(error) => return Err(self.step_error(&error, &applied, &pending).await),
        };
        self.connection.let_roles_read_history().await?;
        Ok(report
            .applied_migrations()
            .iter()
            .map(|migration| entry(migration, true))
            .collect())
    }

    /// Takes back the `count` highest applied migrations, highest first.
    ///
    /// # Errors
    /// [`Error::WouldLose`] when rows would be deleted and the options do not allow it; else as [`Migrator::up`].
    pub async fn down(&mut self, count: usize) -> Result<Vec<Entry>, Error> {
        self.connection.lock().await?;
        let applied = self.applied().await?;
        self.pending(&applied)?;
        let mut taken_back = Vec::new();
        for migration in applied.iter().rev().take(count) {
            let step = self
                .steps
                .iter()
                .find(|step| step.up.version() == migration.version());
            let Some(step) = step else {
                return Err(Error::History(format!(
                    "{migration} was applied by a newer carapulse: only that one can take it back"
                )));
            };
            if !self.options.dry_run {
                self.connection.take_back(step, self.options).await?;
            }
            taken_back.push(entry(migration, true));
        }
        Ok(taken_back)
    }

    /// Takes back the highest applied migration and applies it again.
    ///
    /// # Errors
    /// As [`Migrator::down`].
    pub async fn redo(&mut self) -> Result<Vec<Entry>, Error> {
        let taken_back = self.down(1).await?;
        if self.options.dry_run {
            return Ok(taken_back);
        }
        self.up().await
    }

    /// Every migration that the binary or the database knows, by number.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn status(&mut self) -> Result<Vec<Entry>, Error> {
        let applied = self.applied().await?;
        let mut entries: Vec<Entry> = applied
            .iter()
            .map(|migration| {
                let known = self
                    .steps
                    .iter()
                    .any(|step| step.up.version() == migration.version());
                entry(migration, known)
            })
            .collect();
        let missing = self
            .steps
            .iter()
            .filter(|step| !applied.iter().any(|it| it.version() == step.up.version()));
        entries.extend(missing.map(Step::entry));
        entries.sort_by_key(|entry| entry.version);
        Ok(entries)
    }

    /// The highest applied version (0 when none is) against the binary's.
    ///
    /// # Errors
    /// [`Error::History`] when an applied migration's text has changed; [`Error::Store`].
    pub async fn version(&mut self) -> Result<SchemaState, Error> {
        let applied = self.applied().await?;
        let pending = self.pending(&applied)?;
        Ok(schema_state(&applied, &pending, &self.steps))
    }

    /// Sets the password with which a serving role logs in.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn set_password(&mut self, role: super::DbRole, password: &str) -> Result<(), Error> {
        Ok(self.connection.set_password(role, password).await?)
    }

    /// Ends the session, and with it the lock.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }

    async fn applied(&mut self) -> Result<Vec<Migration>, Error> {
        Ok(self.connection.applied().await?)
    }

    /// What is missing; refuses a history that this binary's migrations contradict. Unknown newer ones are allowed.
    fn pending(&self, applied: &[Migration]) -> Result<Vec<Step>, Error> {
        let highest = applied.last().map_or(0, Migration::version);
        let mut pending = Vec::new();
        for step in &self.steps {
            match applied.iter().find(|it| it.version() == step.up.version()) {
                Some(it) if *it != step.up => {
                    return Err(Error::History(format!(
                        "{it} was changed after it was applied (checksum {:016x}, this binary has {:016x} as {}): \
                         restore its text, or take it back with the binary that applied it",
                        it.checksum(),
                        step.up.checksum(),
                        step.up,
                    )));
                }
                Some(_) => {}
                None if step.up.version() < highest => {
                    return Err(Error::History(format!(
                        "{} was never applied, though the database is already at version {highest}",
                        step.up
                    )));
                }
                None => pending.push(step.clone()),
            }
        }
        Ok(pending)
    }

    /// refinery's report says how many steps went well before the one that failed.
    async fn step_error(
        &mut self,
        error: &refinery_core::Error,
        applied: &[Migration],
        pending: &[Step],
    ) -> Error {
        let cause = std::error::Error::source(error);
        let message = match cause.and_then(|cause| cause.downcast_ref::<sqlx::Error>()) {
            Some(error) => self.connection.explain(error, self.options.lock_timeout).await,
            None => cause.map_or_else(|| error.to_string(), ToString::to_string),
        };
        let done = error
            .report()
            .map_or(0, |report| report.applied_migrations().len());
        match pending.get(done) {
            Some(step) => Error::Step {
                version: step.up.version(),
                name: step.up.name().to_owned(),
                message,
            },
            None => Error::History(format!("{message} (after {} applied)", applied.len())),
        }
    }
}

/// How the schema stands to this binary, for a serving role: it may read the history.
///
/// # Errors
/// [`Error::Store`].
pub async fn check(db: &super::Db) -> Result<SchemaState, Error> {
    let steps = source::parse(builtin())?;
    let mut tx = db.begin_global().await?;
    let applied = connection::applied(&mut tx).await?;
    let pending: Vec<Step> = steps
        .iter()
        .filter(|step| !applied.iter().any(|it| it.version() == step.up.version()))
        .cloned()
        .collect();
    Ok(schema_state(&applied, &pending, &steps))
}

fn schema_state(applied: &[Migration], pending: &[Step], steps: &[Step]) -> SchemaState {
    let highest = applied.last().map_or(0, Migration::version);
    let wanted = steps.last().map_or(0, |step| step.up.version());
    if !pending.is_empty() {
        SchemaState::Behind {
            applied: highest,
            wanted,
        }
    } else if highest > wanted {
        SchemaState::Ahead {
            applied: highest,
            wanted,
        }
    } else {
        SchemaState::Current(highest)
    }
}

fn entry(migration: &Migration, known: bool) -> Entry {
    Entry {
        version: migration.version(),
        name: migration.name().to_owned(),
        applied_at: migration
            .applied_on()
            .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
        known,
    }
}
