//! Our own Postgres: a supervised child in a folder, for one machine without a database server.
//!
//! In: a folder. Out: a running server that only a unix socket in a 0700 folder leads to, with the owner's role and the
//! database `carapulse`. Always holds: one carapulse process owns the folder (a lock on `lock`); a postmaster that
//! outlived its process is adopted, never doubled; the binaries are of the major version that made the data; as root,
//! everything of Postgres' runs under an unprivileged user. Not here: the schema (`migrate`), backups, replication.
//!
//! ```text
//! FOLDER/lock          held while a process owns the server; its content is that process' id
//! FOLDER/data          PGDATA, 0700
//! FOLDER/run           the socket, 0700
//! FOLDER/postgres.log  what the server says
//! ```

mod account;
mod binaries;
mod folder;
mod settings;
mod upgrade;

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::process::{Child, Command};

use self::{account::Account, folder::Folder};
pub use self::{
    settings::Settings,
    upgrade::{Upgraded, upgrade},
};
use super::{Address, DbRole};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another carapulse process owns the folder.
    #[error("the database folder {folder} is in use by process {pid}")]
    InUse {
        /// Which folder.
        folder: String,
        /// The owner's process id, as far as it is known.
        pid: String,
    },
    /// No Postgres of a usable version was found, and none could be fetched.
    #[error("{0}")]
    NoBinaries(String),
    /// A file or folder.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// How it failed.
        source: std::io::Error,
    },
    /// `initdb` or `postgres` failed; the message carries the end of what it said.
    #[error("{0}")]
    Failed(String),
    /// The server runs and does not do what it should.
    #[error(transparent)]
    Store(#[from] super::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_string();
    move |source| Error::Io { what, source }
}

/// A running server. Dropped, it is asked to stop; [`Server::stop`] also waits for that.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    folder: Folder,
    process: Process,
}

#[derive(Debug)]
enum Process {
    /// We started it.
    Child(Child),
    /// It outlived the process that started it; now it is ours.
    Adopted(Pid),
    /// It belongs to another process: we only use it.
    Foreign,
    /// Stopped.
    Gone,
}

impl Server {
    /// Owns the folder: makes it if need be, starts the server or adopts the one that runs there.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process owns the folder; the others as they say.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let account = Account::choose()?;
        let folder = Folder::take(&settings, &account)?;
        let process = match folder.live_postmaster() {
            Some(pid) => {
                settings.say(&format!(
                    "adopting the Postgres that runs in {}",
                    folder.root.display()
                ));
                Process::Adopted(pid)
            }
            None => Process::Child(launch(&settings, &folder, &account).await?),
        };
        let mut server = Self {
            settings,
            folder,
            process,
        };
        server.until_ready().await?;
        server.make_database().await?;
        Ok(server)
    }

    /// As [`Server::start`], but when another process owns the folder its server is used, and left running by `stop`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        match Self::start(settings.clone()).await {
            Err(Error::InUse { .. }) => {
                let folder = Folder::look(&settings)?;
                let mut server = Self {
                    settings,
                    folder,
                    process: Process::Foreign,
                };
                server.until_ready().await?;
                server.until_database().await?;
                Ok(server)
            }
            other => other,
        }
    }

    /// The address of its database for one role.
    #[must_use]
    pub fn address(&self, role: DbRole) -> Address {
        Address::socket(&self.folder.socket, DATABASE, role)
    }

    /// Drops the database with all that is in it and makes an empty one; answers its owner's address. For demonstrations.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn start_over(&self) -> Result<Address, Error> {
        let mut connection = self.superuser().await?;
        sqlx::raw_sql("DROP DATABASE IF EXISTS carapulse WITH (FORCE)")
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql("CREATE DATABASE carapulse OWNER carapulse_owner")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(self.address(DbRole::Owner))
    }

    /// Whether the server belongs to another process.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self.process, Process::Foreign)
    }

    /// Waits until the server is gone though nobody stopped it, and says how. Never ends for a foreign one.
    pub async fn exited(&mut self) -> String {
        match &mut self.process {
            Process::Child(child) => match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => error.to_string(),
            },
            Process::Adopted(pid) => {
                while is_alive(*pid) {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                "ended".to_owned()
            }
            Process::Foreign | Process::Gone => std::future::pending().await,
        }
    }

    /// Starts it again after [`Server::exited`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        let account = Account::choose()?;
        self.process = Process::Child(launch(&self.settings, &self.folder, &account).await?);
        self.until_ready().await
    }

    /// Stops it (fast shutdown: open transactions are rolled back, the log is flushed) and waits for its end; a
    /// temporary folder is removed. A foreign server is left alone.
    ///
    /// # Errors
    /// [`Error::Failed`] when it does not end within 30 s, and then not at once when told to.
    pub async fn stop(mut self) -> Result<(), Error> {
        let Some(pid) = self.pid() else { return Ok(()) };
        for (signal, patience) in [(Signal::SIGINT, 30), (Signal::SIGQUIT, 10)] {
            let _ = kill(pid, signal);
            if tokio::time::timeout(Duration::from_secs(patience), self.exited())
                .await
                .is_ok()
            {
                self.process = Process::Gone;
                if self.settings.temporary {
                    fs::remove_dir_all(&self.folder.root).map_err(io("removing the temporary database"))?;
                }
                return Ok(());
            }
        }
        Err(Error::Failed(format!("Postgres (process {pid}) does not stop")))
    }

    fn pid(&self) -> Option<Pid> {
        match &self.process {
            Process::Child(child) => child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
            Process::Adopted(pid) => Some(*pid),
            Process::Foreign | Process::Gone => None,
        }
    }

    /// The last line of `postmaster.pid` says when connections are taken. Recovery after a crash may take a while.
    async fn until_ready(&mut self) -> Result<(), Error> {
        for _ in 0..12_000 {
            if self.folder.is_ready() {
                return Ok(());
            }
            if let Process::Child(child) = &mut self.process
                && let Some(status) = child.try_wait().map_err(io("waiting for Postgres"))?
            {
                let tail = self.folder.log_tail();
                return Err(Error::Failed(format!("Postgres {}: {tail}", describe(status))));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(Error::Failed(format!(
            "Postgres takes no connections after five minutes: {}",
            self.folder.log_tail()
        )))
    }

    async fn make_database(&self) -> Result<(), Error> {
        let mut connection = self.superuser().await?;
        sqlx::raw_sql(
            "DO $$ BEGIN
               IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'carapulse_owner') THEN
                 CREATE ROLE carapulse_owner LOGIN NOSUPERUSER CREATEROLE CREATEDB;
               END IF;
             END $$",
        )
        .execute(&mut connection)
        .await?;
        if self.settings.temporary {
            // Tests put rows into states that the constraints would not let them be in.
            sqlx::raw_sql("GRANT SET ON PARAMETER session_replication_role TO carapulse_owner")
                .execute(&mut connection)
                .await?;
        }
        if !has_database(&mut connection).await? {
            sqlx::raw_sql("CREATE DATABASE carapulse OWNER carapulse_owner")
                .execute(&mut connection)
                .await?;
        }
        Ok(connection.close().await?)
    }

    /// The owner of a folder makes the database a moment after the server takes connections.
    async fn until_database(&self) -> Result<(), Error> {
        let mut connection = self.superuser().await?;
        for _ in 0..400 {
            if has_database(&mut connection).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(Error::Failed(
            "the running Postgres has no database `carapulse`".to_owned(),
        ))
    }

    async fn superuser(&self) -> Result<sqlx::PgConnection, Error> {
        self.superuser_in("postgres").await
    }

    async fn superuser_in(&self, database: &str) -> Result<sqlx::PgConnection, Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&self.folder.socket)
            .username(SUPERUSER)
            .database(database)
            .application_name("carapulse embedded");
        Ok(options.connect().await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGINT);
        }
    }
}

const SUPERUSER: &str = "postgres";
const DATABASE: &str = "carapulse";

async fn has_database(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'carapulse')")
        .fetch_one(connection)
        .await
}

/// Starts `postgres`, after `initdb` when the data folder is new.
async fn launch(settings: &Settings, folder: &Folder, account: &Account) -> Result<Child, Error> {
    let major = folder.major()?;
    refuse_too_old(settings, folder, major)?;
    let binaries = binaries::find(settings, major.or(settings.major), account).await?;
    if folder.major()?.is_none() {
        settings.say(&format!(
            "making a database in {} (Postgres {})",
            folder.root.display(),
            binaries.version
        ));
        init(settings, folder, account, &binaries).await?;
    }
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.log())
        .map_err(io(folder.log().display()))?;
    let mut command = command(account, &binaries.folder.join("postgres"));
    command.arg("-D").arg(folder.data());
    for setting in settings.server_settings(&folder.socket) {
        command.arg("-c").arg(setting);
    }
    command
        // Its own group: a Ctrl-C in the terminal is ours to answer, after everything has been drained.
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(io("starting postgres"))
}

/// The schema needs what older majors do not have.
fn refuse_too_old(settings: &Settings, folder: &Folder, major: Option<u32>) -> Result<(), Error> {
    match major {
        Some(major) if major < binaries::OLDEST_MAJOR && !settings.any_age => Err(Error::Failed(format!(
            "the data in {} is of Postgres {major}, and this release needs {} or newer: run `carapulse db upgrade`",
            folder.root.display(),
            binaries::OLDEST_MAJOR
        ))),
        _ => Ok(()),
    }
}

/// `initdb` works in a folder beside the final one: a half-made database never has the final name.
async fn init(
    settings: &Settings,
    folder: &Folder,
    account: &Account,
    binaries: &binaries::Binaries,
) -> Result<(), Error> {
    let made = folder.data().with_extension("new");
    if made.exists() {
        fs::remove_dir_all(&made).map_err(io(made.display()))?;
    }
    folder::make(&made, 0o700, Some(account))?;
    let mut command = command(account, &binaries.folder.join("initdb"));
    command
        .arg("-D")
        .arg(&made)
        .args(["-U", SUPERUSER, "-E", "UTF8", "--auth=trust", "--no-instructions"])
        .args(binaries.locale());
    command.arg(if settings.temporary {
        "--no-sync"
    } else {
        "--data-checksums"
    });
    let output = command.output().await.map_err(io("starting initdb"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Failed(format!(
            "initdb {}: {}",
            describe(output.status),
            said.trim()
        )));
    }
    // No way in but the socket.
    let hba = made.join("pg_hba.conf");
    fs::write(&hba, "local all all trust\n").map_err(io(hba.display()))?;
    fs::rename(&made, folder.data()).map_err(io(folder.data().display()))
}

/// A command under the account, in a clean environment.
fn command(account: &Account, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(false);
    if let Some((uid, gid)) = account.drop_to() {
        // std also drops the supplementary groups when root changes its uid.
        command.uid(uid).gid(gid);
    }
    command
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
