//! Decision 1: what a request's commit may hold. The same three rows, written four ways on the same server, c=16.

use sqlx::{Connection as _, PgPool};

use crate::{
    limits::Limits,
    measure::{Effort, Meter, Rate, rate},
    server::Database,
    table::{Line, Table},
};

/// The three rows in one statement.
const ONE: &str = "WITH a AS (INSERT INTO commit_change (body) VALUES ($1)),
    b AS (INSERT INTO commit_audit (body) VALUES ($1)) INSERT INTO commit_outbox (body) VALUES ($1)";
const NOTIFY: &str = "WITH a AS (INSERT INTO commit_change (body) VALUES ($1)),
    b AS (INSERT INTO commit_audit (body) VALUES ($1)), c AS (INSERT INTO commit_outbox (body) VALUES ($1))
    SELECT pg_notify('bench', '')";
const HEAD: &str = "WITH a AS (INSERT INTO commit_change (body) VALUES ($1)),
    b AS (INSERT INTO commit_audit (body) VALUES ($1)), c AS (INSERT INTO commit_outbox (body) VALUES ($1))
    UPDATE commit_head SET size = size + 1";
const APART: [&str; 3] = [
    "INSERT INTO commit_change (body) VALUES ($1)",
    "INSERT INTO commit_audit (body) VALUES ($1)",
    "INSERT INTO commit_outbox (body) VALUES ($1)",
];

/// Adds the four lines.
pub async fn measure(
    effort: Effort,
    database: &Database,
    limits: &Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    database
        .fill(
            "CREATE TABLE commit_change (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL);
             CREATE TABLE commit_audit (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL);
             CREATE TABLE commit_outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL);
             CREATE TABLE commit_head (size bigint NOT NULL) WITH (fillfactor = 10); INSERT INTO commit_head VALUES (0);",
        )
        .await?;
    let pool = database.superuser(16).await?;
    let one = statement(effort, &pool, ONE).await?;
    let apart = apart(effort, &pool).await?;
    let notify = statement(effort, &pool, NOTIFY).await?;
    let head = statement(effort, &pool, HEAD).await?;
    for (name, rate) in [
        ("commit: three rows in one statement", one),
        ("commit: four statements", apart),
        ("commit: one statement with NOTIFY", notify),
        ("commit: one statement with one head row", head),
    ] {
        let line = Line::rate(name, &rate).limit("fsync insert", limits.insert_per_sec);
        table.add(line.note(format!("{:.2} of one statement", rate.per_sec / one.per_sec)));
    }
    pool.close().await;
    Ok(())
}

async fn statement(effort: Effort, pool: &PgPool, sql: &'static str) -> anyhow::Result<Rate> {
    let (pool, body) = (pool.clone(), "x".repeat(200));
    rate(effort, 16, Meter::Off, move |_, _| {
        let (pool, body) = (pool.clone(), body.clone());
        async move {
            sqlx::query(sql).bind(body).execute(&pool).await?;
            Ok(())
        }
    })
    .await
}

/// `BEGIN` with the first insert would be a fourth statement less: it goes out with its own round trip, as in a handler.
async fn apart(effort: Effort, pool: &PgPool) -> anyhow::Result<Rate> {
    let (pool, body) = (pool.clone(), "x".repeat(200));
    rate(effort, 16, Meter::Off, move |_, _| {
        let (pool, body) = (pool.clone(), body.clone());
        async move {
            let mut connection = pool.acquire().await?;
            let mut tx = connection.begin().await?;
            for sql in APART {
                sqlx::query(sql).bind(&body).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(())
        }
    })
    .await
}
