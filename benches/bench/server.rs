//! The run's own Postgres, with fsync on, in a folder that goes with it; and fresh databases on it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use carapulse::store::{
    Address, Db, DbRole,
    migrate::{Migrator, Options},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};

/// The product's executable, built in the same profile.
pub const CARAPULSE: &str = env!("CARGO_BIN_EXE_carapulse");

/// A folder that its owner's end removes.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one. Postgres may run under another user, who must be able to get through it.
    pub fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("carapulse-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

/// A Postgres that ends with this.
pub struct Server {
    child: Child,
    owner: Address,
}

impl Server {
    /// Starts it below `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(CARAPULSE)
            .args(["postgres", "run", "--data"])
            .arg(folder.join("postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting carapulse")?;
        let output = child.stdout.take().context("its output is piped")?;
        let url = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DATABASE_URL=").map(str::to_owned))
            .context("`carapulse postgres run` named no address")?;
        Ok(Self {
            child,
            owner: url.parse()?,
        })
    }

    /// A new, migrated database.
    pub async fn database(&self, name: &str) -> anyhow::Result<Database> {
        let mut admin = PgConnection::connect(self.owner.with_user("postgres", None).expose()).await?;
        let create = format!("CREATE DATABASE {name} OWNER carapulse_owner");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
        admin.close().await?;
        let owner = self.owner.with_database(name);
        let mut migrator = Migrator::connect(&owner, Options::default()).await?;
        migrator.up().await?;
        migrator.close().await?;
        Ok(Database { owner })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("Postgres could not be waited for: {error}");
        }
    }
}

/// A migrated database.
pub struct Database {
    owner: Address,
}

impl Database {
    /// The address of a role.
    pub fn address(&self, role: DbRole) -> Address {
        self.owner.with_user(role.name(), None)
    }

    /// A pool under a role.
    pub async fn pool(&self, role: DbRole) -> anyhow::Result<Db> {
        Ok(Db::open(&self.address(role), role, 16).await?)
    }

    /// Plain connections of the superuser, past row-level security: for limits and for filling tables.
    pub async fn superuser(&self, connections: u32) -> anyhow::Result<PgPool> {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false);
        Ok(pool
            .connect(self.owner.with_user("postgres", None).expose())
            .await?)
    }

    /// Runs statements as the superuser, without checks of foreign keys and without waiting for the disk.
    pub async fn fill(&self, sql: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(self.owner.with_user("postgres", None).expose()).await?;
        let sql = format!("SET session_replication_role = replica; SET synchronous_commit = off; {sql}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await?;
        Ok(admin.close().await?)
    }

    /// What autovacuum would do in time: without it, a freshly filled table is measured at its worst.
    pub async fn vacuum(&self, table: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(self.owner.with_user("postgres", None).expose()).await?;
        let sql = format!("VACUUM ANALYZE {table}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await?;
        Ok(admin.close().await?)
    }
}
