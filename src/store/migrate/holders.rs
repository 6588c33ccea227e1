//! Who is in the way: another runner, or a session that keeps a table.

use std::{fmt, time::Duration};

use sqlx::{PgConnection, Row, postgres::PgRow};

/// A session that holds what a migration waits for.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The server process.
    pub pid: i32,
    /// What it calls itself.
    pub application_name: String,
    /// From where; none for a unix socket.
    pub client_address: Option<String>,
    /// What it holds: `the lock` of the only runner, or tables.
    pub what: String,
    /// Since when its session, or the transaction that keeps the tables, is open; RFC 3339 in UTC. Empty when that is not
    /// ours to know.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.client_address.as_deref().unwrap_or("a local socket");
        write!(
            f,
            "`{}` (server process {}, from {from}) holds {}",
            self.application_name, self.pid, self.what
        )?;
        if self.since.is_empty() {
            return Ok(());
        }
        write!(f, " since {}", self.since)
    }
}

/// A list of them for an error message.
pub(super) fn describe(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "it ended just now; try again".to_owned();
    }
    let parts: Vec<String> = holders.iter().map(ToString::to_string).collect();
    parts.join("; ")
}

/// Sessions that hold the advisory lock `key` of this database.
pub(super) async fn of_lock(connection: &mut PgConnection, key: i64) -> Result<Vec<Holder>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT l.pid, coalesce(nullif(a.application_name, ''), 'an unnamed session') AS application_name,
           host(a.client_addr) AS client_address, 'the lock' AS what,
           to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $1 >> 32
           AND l.objid::bigint = $1 & 4294967295 AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(key)
    .fetch_all(connection)
    .await?;
    rows.iter().map(holder).collect()
}

/// Other sessions that have kept tables of the schema for as long as a migration waited: one of them was in its way.
pub(super) async fn of_tables(
    connection: &mut PgConnection,
    waited: Duration,
) -> Result<Vec<Holder>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT l.pid, coalesce(nullif(min(a.application_name), ''), 'an unnamed session') AS application_name,
           min(host(a.client_addr)) AS client_address, string_agg(DISTINCT c.relname, ', ') AS what,
           to_char(min(a.xact_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND coalesce(a.xact_start < clock_timestamp() - $1::bigint * interval '1 millisecond', true)
         GROUP BY l.pid ORDER BY l.pid",
    )
    .bind(i64::try_from(waited.as_millis()).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter().map(holder).collect()
}

fn holder(row: &PgRow) -> Result<Holder, sqlx::Error> {
    Ok(Holder {
        pid: row.try_get("pid")?,
        application_name: row.try_get("application_name")?,
        client_address: row.try_get("client_address")?,
        what: row.try_get("what")?,
        since: row.try_get::<Option<String>, _>("since")?.unwrap_or_default(),
    })
}
