//! refinery on our own Postgres client: one connection, the advisory lock, timeouts.

use std::{str::FromStr, time::Duration};

use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, Row, postgres::PgConnectOptions};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Error, Holder, Loss, Options, holders, loss, source::Step};
use crate::store::{Address, DbRole};

/// Ours among all users of advisory locks in the database ("carapuls" in ASCII).
const LOCK_KEY: i64 = 0x6361_7261_7075_6c73;

/// The owner's session.
#[derive(Debug)]
pub(super) struct Connection {
    inner: PgConnection,
}

impl Connection {
    pub(super) async fn open(address: &Address, options: Options) -> Result<Self, Error> {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis().max(1));
        let name = format!("carapulse migrate (pid {})", std::process::id());
        let inner = PgConnectOptions::from_str(address.expose())?
            .application_name(&name)
            .options([
                ("lock_timeout", millis(options.lock_timeout)),
                ("statement_timeout", millis(options.statement_timeout)),
                ("client_min_messages", "warning".to_owned()),
            ])
            .connect()
            .await?;
        Ok(Self { inner })
    }

    /// Takes the lock of this database's only runner; it ends with the session.
    pub(super) async fn lock(&mut self) -> Result<(), Error> {
        // Taken once a session: the lock counts, and `redo` asks twice.
        let held: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
               AND classid::bigint = $1 >> 32 AND objid::bigint = $1 & 4294967295 AND objsubid = 1
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
        )
        .bind(LOCK_KEY)
        .fetch_one(&mut self.inner)
        .await?;
        if held {
            return Ok(());
        }
        let taken = sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LOCK_KEY)
            .execute(&mut self.inner)
            .await;
        match taken {
            Ok(_) => Ok(()),
            Err(error) if is_lock_timeout(&error) => {
                Err(Error::Locked(holders::of_lock(&mut self.inner, LOCK_KEY).await?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The database's words for what stopped a step; a lock that was not had in time names who kept the tables.
    pub(super) async fn explain(&mut self, error: &sqlx::Error, waited: Duration) -> String {
        if !is_lock_timeout(error) {
            return error.to_string();
        }
        // The step has failed already: whatever keeps us from finding out does not make it worse.
        let holders: Vec<Holder> = holders::of_tables(&mut self.inner, waited)
            .await
            .unwrap_or_default();
        format!("{error}: {}", holders::describe(&holders))
    }

    /// Runs one way back: refuses, with everything undone, when it would delete rows.
    pub(super) async fn take_back(&mut self, step: &Step, options: Options) -> Result<(), Error> {
        let (version, name) = (step.up.version(), step.up.name().to_owned());
        match self.try_take_back(step, options.discard_data).await {
            Ok(losses) if losses.is_empty() => Ok(()),
            Ok(losses) => Err(Error::WouldLose {
                version,
                name,
                losses,
            }),
            Err(error) => Err(Error::Step {
                version,
                name,
                message: self.explain(&error, options.lock_timeout).await,
            }),
        }
    }

    /// All of it, or, when rows would be lost, nothing but their count.
    async fn try_take_back(&mut self, step: &Step, discard_data: bool) -> Result<Vec<Loss>, sqlx::Error> {
        let mut tx = self.inner.begin().await?;
        if !discard_data {
            let losses = loss::find(&mut tx, step).await?;
            if !losses.is_empty() {
                tx.rollback().await?;
                return Ok(losses);
            }
        }
        sqlx::raw_sql(step.down).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM refinery_schema_history WHERE version = $1")
            .bind(step.up.version())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    pub(super) async fn applied(&mut self) -> Result<Vec<Migration>, crate::store::Error> {
        applied(&mut self.inner).await
    }

    /// The serving roles read the history when they start, to refuse a schema that is behind.
    pub(super) async fn let_roles_read_history(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(
            "DO $$ DECLARE name text; BEGIN
               FOR name IN SELECT rolname FROM pg_roles WHERE rolname IN
                 ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') LOOP
                 EXECUTE format('GRANT SELECT ON refinery_schema_history TO %I', name);
               END LOOP;
             END $$",
        )
        .execute(&mut self.inner)
        .await?;
        Ok(())
    }

    pub(super) async fn set_password(
        &mut self,
        role: DbRole,
        password: &str,
    ) -> Result<(), crate::store::Error> {
        let mut tx = self.inner.begin().await?;
        // ALTER ROLE takes no parameters: the value goes through a setting of this transaction, quoted by the server.
        sqlx::query(
            "SELECT set_config('carapulse.role', $1, true), set_config('carapulse.password', $2, true)",
        )
        .bind(role.name())
        .bind(password)
        .execute(&mut *tx)
        .await?;
        sqlx::raw_sql(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L',
               current_setting('carapulse.role'), current_setting('carapulse.password')); END $$",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.inner.close().await
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("55P03")
}

/// What the history says, by number; nothing when no migration has ever run.
pub(super) async fn applied(connection: &mut PgConnection) -> Result<Vec<Migration>, crate::store::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('refinery_schema_history') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT version, name, applied_on, checksum FROM refinery_schema_history ORDER BY version",
    )
    .fetch_all(&mut *connection)
    .await?;
    Ok(rows.iter().map(migration).collect::<Result<_, _>>()?)
}

impl AsyncTransaction for Connection {
    type Error = sqlx::Error;

    /// All statements in one transaction, under the session's lock and statement timeouts.
    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let mut tx = self.inner.begin().await?;
        let mut count = 0;
        for query in queries {
            // Only embedded migrations and refinery's own bookkeeping come here.
            sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
                .execute(&mut *tx)
                .await?;
            count += 1;
        }
        tx.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Connection {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut self.inner)
            .await?;
        rows.iter().map(migration).collect()
    }
}

impl AsyncMigrate for Connection {}

fn migration(row: &sqlx::postgres::PgRow) -> Result<Migration, sqlx::Error> {
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
    let applied_on: String = row.try_get("applied_on")?;
    let checksum: String = row.try_get("checksum")?;
    Ok(Migration::applied(
        row.try_get("version")?,
        row.try_get("name")?,
        OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(|error| decode(error.into()))?,
        checksum
            .parse()
            .map_err(|error: std::num::ParseIntError| decode(error.into()))?,
    ))
}
