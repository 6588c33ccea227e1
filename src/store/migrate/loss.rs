//! What a way back would delete: found by walking it, looking, and undoing it.

use std::{collections::BTreeMap, fmt};

use sqlx::{Connection, PgConnection, Row};

use super::source::Step;

/// Rows, or filled columns, that would be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// `table` or `table.column`.
    pub what: String,
    /// How many rows hold it.
    pub rows: i64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.rows == 1 { "row" } else { "rows" };
        write!(f, "{} {noun} of {}", self.rows, self.what)
    }
}

pub(super) fn describe(losses: &[Loss]) -> String {
    let parts: Vec<String> = losses.iter().map(ToString::to_string).collect();
    parts.join(", ")
}

/// Compares the schema before with the schema after the step's way back, undoes that, and counts what is in the tables
/// and columns that were gone. Rows that the migration itself inserted do not count. Leaves the transaction as it was,
/// but for the locks.
pub(super) async fn find(tx: &mut PgConnection, step: &Step) -> Result<Vec<Loss>, sqlx::Error> {
    let before = columns(tx).await?;
    let mut trial = tx.begin().await?;
    sqlx::raw_sql(step.down).execute(&mut *trial).await?;
    let after = columns(&mut trial).await?;
    trial.rollback().await?;

    let mut probe = tx.begin().await?;
    sqlx::raw_sql(COUNT_FUNCTION).execute(&mut *probe).await?;
    let mut losses = Vec::new();
    for (table, had) in &before {
        let left = after.get(table);
        let lost: Vec<Option<&String>> = match left {
            None => vec![None],
            Some(left) => had
                .iter()
                .filter(|column| !left.contains(column))
                .map(Some)
                .collect(),
        };
        for column in lost {
            let rows: i64 = sqlx::query_scalar("SELECT pg_temp.carapulse_count($1, $2)")
                .bind(table)
                .bind(column)
                .fetch_one(&mut *probe)
                .await?;
            let rows = rows - column.map_or_else(|| step.seeds(table), |_| 0);
            if rows > 0 {
                let what = column.map_or_else(|| table.clone(), |column| format!("{table}.{column}"));
                losses.push(Loss { what, rows });
            }
        }
    }
    probe.rollback().await?;
    Ok(losses)
}

/// Counts rows whoever's they are: row-level security is lifted from the table for as long as the transaction lasts.
const COUNT_FUNCTION: &str = r"
CREATE FUNCTION pg_temp.carapulse_count(tbl text, col text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', tbl);
  IF col IS NULL THEN
    EXECUTE format('SELECT count(*) FROM %I', tbl) INTO n;
  ELSE
    EXECUTE format('SELECT count(%I) FROM %I', col, tbl) INTO n;
  END IF;
  RETURN n;
END $$";

/// Tables of the schema (partitions are their parents') and their columns.
async fn columns(connection: &mut PgConnection) -> Result<BTreeMap<String, Vec<String>>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT c.relname::text AS relname, array_agg(a.attname::text) AS columns
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
         GROUP BY c.relname",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("relname")?, row.try_get("columns")?)))
        .collect()
}
