//! Another major version of Postgres under the same data: every row is copied into a new cluster beside the old one, which
//! then takes its place.
//!
//! In: a folder whose server nobody runs, and the binaries of both majors. Out: the folder on the new major, and the old
//! data beside it. Always holds: the old data is never written to but for its schema's migrations; the exchange is one
//! system call, after the rows were counted on both sides; whatever breaks off before it leaves the folder as it was.
//! Not here: `pg_upgrade` and `pg_dump`, which the binaries that are downloaded do not have.

use std::{fs, path::PathBuf};

use futures::TryStreamExt;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Error, Server, Settings, folder::Folder, io};
use crate::store::{
    DbRole,
    migrate::{Migrator, Options},
};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The major before.
    pub from: u32,
    /// The major now.
    pub to: u32,
    /// Rows that were copied.
    pub rows: i64,
    /// Where the old data lies; it may be deleted.
    pub old_data: PathBuf,
}

/// Brings the database in `settings.folder` to Postgres `to` (none: the one that new folders get). `None` when it is
/// there already.
///
/// # Errors
/// [`Error::InUse`] while a process runs the server; [`Error::NoBinaries`]; [`Error::Failed`] when the folder holds no
/// database, or the copy is not the original.
pub async fn upgrade(settings: &Settings, to: Option<u32>) -> Result<Option<Upgraded>, Error> {
    let to = to.unwrap_or(super::binaries::PINNED_MAJOR);
    let from = major_of(settings)?;
    if from == to {
        return Ok(None);
    }
    if from > to {
        return Err(Error::Failed(format!(
            "the data is of Postgres {from}, which is newer than {to}: there is no way back but a backup"
        )));
    }
    let old = Server::start(settings.clone().of_any_age()).await?;
    let beside = settings.folder.join("upgrade");
    let done = copy_beside(&old, settings, &beside, to).await;
    let root = old.folder.root.clone();
    old.stop().await?;
    let rows = done?;
    let old_data = exchange(&root, &beside, from)?;
    Ok(Some(Upgraded {
        from,
        to,
        rows,
        old_data,
    }))
}

fn major_of(settings: &Settings) -> Result<u32, Error> {
    let none = || Error::Failed(format!("there is no database in {}", settings.folder.display()));
    if !settings.folder.join("data/PG_VERSION").exists() {
        return Err(none());
    }
    Folder::look(settings)?.major()?.ok_or_else(none)
}

/// A new cluster with every row of the old one; stopped, so that all of it lies on the disk.
async fn copy_beside(old: &Server, settings: &Settings, beside: &PathBuf, to: u32) -> Result<i64, Error> {
    if beside.exists() {
        // Of an earlier try that broke off.
        fs::remove_dir_all(beside).map_err(io(beside.display()))?;
    }
    let new = Server::start(settings.clone().in_folder(beside).of_major(to)).await?;
    let copied = copy(old, &new, settings).await;
    new.stop().await?;
    copied
}

async fn copy(old: &Server, new: &Server, settings: &Settings) -> Result<i64, Error> {
    for server in [old, new] {
        let migrated = async {
            let mut migrator = Migrator::connect(&server.address(DbRole::Owner), Options::default()).await?;
            migrator.up().await?;
            migrator.close().await
        };
        migrated
            .await
            .map_err(|error| Error::Failed(format!("migrating: {error}")))?;
    }
    make_partitions(old, new).await?;
    let mut source = old.superuser_in(super::DATABASE).await?;
    let mut target = new.superuser_in(super::DATABASE).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut source)
        .await?;
    // Keys are checked on one side already, and triggers have done their work.
    sqlx::raw_sql("BEGIN; SET LOCAL session_replication_role = replica")
        .execute(&mut target)
        .await?;
    let tables = tables(&mut source).await?;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let emptied = format!("TRUNCATE {} CASCADE", names.join(", "));
    sqlx::raw_sql(AssertSqlSafe(emptied)).execute(&mut target).await?;
    let mut rows = 0;
    for table in &tables {
        settings.say(&format!("copying {}", table.name));
        rows += copy_table(&mut source, &mut target, table).await?;
    }
    sqlx::raw_sql("COMMIT; ANALYZE").execute(&mut target).await?;
    source.close().await?;
    target.close().await?;
    Ok(rows)
}

/// A table that holds rows itself or in partitions.
#[derive(Debug, sqlx::FromRow)]
struct Table {
    /// Quoted.
    name: String,
    /// Quoted, in the source's order: the target's may be another.
    columns: String,
}

async fn tables(source: &mut PgConnection) -> Result<Vec<Table>, Error> {
    let tables = sqlx::query_as(
        "SELECT quote_ident(c.relname) AS name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         GROUP BY c.relname ORDER BY c.relname",
    );
    Ok(tables.fetch_all(source).await?)
}

async fn copy_table(
    source: &mut PgConnection,
    target: &mut PgConnection,
    table: &Table,
) -> Result<i64, Error> {
    let Table { name, columns } = table;
    let read = format!("COPY (SELECT {columns} FROM {name}) TO STDOUT (FORMAT binary)");
    let mut write = target
        .copy_in_raw(&format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)"))
        .await?;
    let mut chunks = source.copy_out_raw(&read).await?;
    while let Some(chunk) = chunks.try_next().await? {
        write.send(chunk).await?;
    }
    drop(chunks);
    write.finish().await?;
    let (there, here) = (count(source, name).await?, count(target, name).await?);
    if there == here {
        Ok(here)
    } else {
        Err(Error::Failed(format!(
            "{name} has {there} rows, and its copy {here}"
        )))
    }
}

async fn count(connection: &mut PgConnection, table: &str) -> Result<i64, Error> {
    let statement = format!("SELECT count(*) FROM {table}");
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(connection)
        .await?)
}

/// The months that the old cluster has partitions for; as the owner, whose they are.
async fn make_partitions(old: &Server, new: &Server) -> Result<(), Error> {
    let mut source = old.superuser_in(super::DATABASE).await?;
    let made: Vec<String> = sqlx::query_scalar(
        "SELECT format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I %s', c.relname, p.relname, pg_get_expr(c.relpartbound, c.oid))
         FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
         WHERE c.relispartition AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut source)
    .await?;
    source.close().await?;
    let mut owner = PgConnection::connect(new.address(DbRole::Owner).expose()).await?;
    for statement in made {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut owner)
            .await?;
    }
    Ok(owner.close().await?)
}

/// The new data takes the old one's name in one step: at no instant is there none, from which an empty one would be made.
fn exchange(root: &std::path::Path, beside: &std::path::Path, from: u32) -> Result<PathBuf, Error> {
    let (data, new) = (root.join("data"), beside.join("data"));
    renameat2(AT_FDCWD, &new, AT_FDCWD, &data, RenameFlags::RENAME_EXCHANGE)
        .map_err(|error| io("putting the new data in place")(error.into()))?;
    let kept = root.join(format!("data.{from}"));
    if kept.exists() {
        fs::remove_dir_all(&kept).map_err(io(kept.display()))?;
    }
    fs::rename(&new, &kept).map_err(io(kept.display()))?;
    fs::remove_dir_all(beside).map_err(io(beside.display()))?;
    Ok(kept)
}
