//! What this machine can do at all, in the same run, through the same client library: what our own lines stand beside.

use std::{process::Command, sync::Arc};

use anyhow::Context as _;
use axum::{Router, routing::get};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use crate::{
    http::Clients,
    measure::{Effort, Meter, Rate, micros, percentile, rate, tight},
    server::Database,
    table::{Line, Table},
};

/// Rows of the table that the limits are measured on.
const ROWS: i64 = 100_000;

/// The limits that lines refer to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One row by its key, c=16, a second.
    pub select_per_sec: f64,
    /// Fifty rows by a range of keys, c=16, a second.
    pub page_per_sec: f64,
    /// One row and its fsync, c=16, a second.
    pub insert_per_sec: f64,
    /// One row and its fsync, alone, in milliseconds.
    pub insert_ms: f64,
    /// fork, exec, exit and wait, in milliseconds.
    pub exec_ms: f64,
    /// A small answer over loopback HTTP, c=16, a second.
    pub echo_per_sec: f64,
    /// SHA-256 of 65 bytes (an inner node of the tree), one thread, a second.
    pub hash_per_sec: f64,
}

/// Measures them all.
pub async fn measure(effort: Effort, database: &Database, table: &mut Table) -> anyhow::Result<Limits> {
    database
        .fill(&format!(
            "CREATE TABLE limit_row (id bigint PRIMARY KEY, body text NOT NULL);
             INSERT INTO limit_row SELECT g, repeat('x', 200) FROM generate_series(1, {ROWS}) g;
             CREATE TABLE limit_insert (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL);"
        ))
        .await?;
    database.vacuum("limit_row").await?;
    let pool = database.superuser(16).await?;
    let select = rows(effort, &pool, 16, 1).await?;
    table.add(Line::rate("limit: indexed select, c=16", &select));
    let page = rows(effort, &pool, 16, 50).await?;
    table.add(Line::rate("limit: page of 50, c=16", &page));
    let alone = insert(effort, &pool, 1).await?;
    table.add(Line::rate("limit: fsync insert, c=1", &alone));
    let grouped = insert(effort, &pool, 16).await?;
    table.add(Line::rate("limit: fsync insert, c=16", &grouped));
    let exec_ms = fork_exec(effort)?;
    table.add(Line::new("limit: fork, exec, wait of /bin/true", exec_ms, "ms"));
    let echo = echo(effort).await?;
    table.add(Line::rate("limit: loopback HTTP echo, c=16", &echo));
    let hash = sha256(effort);
    table.add(Line::new("limit: SHA-256 of 65 bytes, one thread", hash, "/s"));
    pool.close().await;
    Ok(Limits {
        select_per_sec: select.per_sec,
        page_per_sec: page.per_sec,
        insert_per_sec: grouped.per_sec,
        insert_ms: alone.p50_us / 1000.0,
        exec_ms,
        echo_per_sec: echo.per_sec,
        hash_per_sec: hash,
    })
}

async fn rows(effort: Effort, pool: &PgPool, workers: usize, rows: i64) -> anyhow::Result<Rate> {
    let pool = pool.clone();
    rate(effort, workers, Meter::Own, move |_, number| {
        let pool = pool.clone();
        async move {
            // A walk that visits the whole table without an order.
            let first = i64::try_from(number)?.wrapping_mul(7919) % (ROWS - rows) + 1;
            let found = sqlx::query("SELECT id, body FROM limit_row WHERE id >= $1 ORDER BY id LIMIT $2")
                .bind(first)
                .bind(rows)
                .fetch_all(&pool)
                .await?;
            anyhow::ensure!(i64::try_from(found.len())? == rows, "rows are missing");
            Ok(())
        }
    })
    .await
}

async fn insert(effort: Effort, pool: &PgPool, workers: usize) -> anyhow::Result<Rate> {
    let (pool, body) = (pool.clone(), "x".repeat(200));
    rate(effort, workers, Meter::Own, move |_, _| {
        let (pool, body) = (pool.clone(), body.clone());
        async move {
            let insert = sqlx::query("INSERT INTO limit_insert (body) VALUES ($1)").bind(body);
            insert.execute(&pool).await?;
            Ok(())
        }
    })
    .await
}

fn fork_exec(effort: Effort) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..effort.rounds * 40 {
        let began = std::time::Instant::now();
        Command::new("/bin/true").status().context("/bin/true")?;
        times.push(micros(began.elapsed()) / 1000.0);
    }
    Ok(percentile(&mut times, 50))
}

async fn echo(effort: Effort) -> anyhow::Result<Rate> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let routes = Router::new().route("/", get(|| async { "x" }));
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let clients = Arc::new(Clients::connect(port, 16).await?);
    let result = rate(effort, 16, Meter::Own, move |worker, _| {
        let clients = Arc::clone(&clients);
        async move { clients.get(worker, "/", None).await.map(drop) }
    })
    .await;
    serving.abort();
    result
}

fn sha256(effort: Effort) -> f64 {
    let mut bytes = [1_u8; 65];
    let hashed = tight(effort, 1000, || {
        let digest = Sha256::digest(bytes);
        bytes[..32].copy_from_slice(&digest);
    });
    hashed.per_sec
}
