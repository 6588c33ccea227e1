//! The durable step: the engine and the tool-router in one process, acting with a tool that does nothing (a read of metrics
//! that a server here answers at once).

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Json, Router, routing::post};
use carapulse::{
    approval,
    domain::{ExecutionId, run::JournalEvent},
    execution::{self, Embedded, Settings},
    plan::store as plans,
    sandbox::{LocalConfig, Runner},
    store::{DbRole, ObjectStore},
    tools::{self, Client},
    warrant::statement::ApprovalKeys,
};
use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    limits::Limits,
    measure::{Effort, count, percentile},
    server::{Database, Folder},
    table::{Line, Reach, Table},
    world::{World, step},
};

/// Steps of one execution.
const STEPS: usize = 40;

/// Adds the lines of one step: time, commits and fsyncs.
pub async fn measure(
    effort: Effort,
    database: &Database,
    folder: &Folder,
    limits: &Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    let world = World::new(database, &metrics().await?).await?;
    let admin = database.superuser(1).await?;
    let mut times = Vec::new();
    let mut spent = Spent::default();
    for run in 0..=effort.rounds {
        let before = Spent::so_far(&admin).await?;
        let others = backends(&admin).await?;
        let id = execute(&world, database, folder).await?;
        until_reported(&admin, others).await?;
        let after = Spent::so_far(&admin).await?;
        let mut journal = journal(&admin, id).await?;
        if run > 0 {
            times.append(&mut journal);
            spent.commits += after.commits - before.commits;
            spent.fsyncs += after.fsyncs - before.fsyncs;
        }
    }
    let steps = count(effort.rounds * STEPS);
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    table.add(
        Line::new("durable step, embedded, tool that does nothing", p50, "ms")
            .limit("one fsync insert", limits.insert_ms)
            .reach(Reach::AtMost(3.0 * limits.insert_ms + 1.0))
            .note(format!("p99 {p99:.1} ms; to reach: 3 fsyncs + 1 ms")),
    );
    let line = Line::new("durable step: fsyncs of the log", spent.fsyncs / steps, "a step")
        .reach(Reach::AtMost(3.5));
    table.add(line.note(format!(
        "{:.1} transactions a step, reads and the execution's ends included",
        spent.commits / steps
    )));
    admin.close().await;
    Ok(())
}

/// Runs one execution from its creation to its end, on pools of its own: closing them makes the server count what they did.
async fn execute(world: &World, database: &Database, folder: &Folder) -> anyhow::Result<ExecutionId> {
    let gateway = database.pool(DbRole::Gateway).await?;
    let orchestrator = database.pool(DbRole::Orchestrator).await?;
    let router_db = database.pool(DbRole::Router).await?;
    let keys = || ApprovalKeys::new([SigningKey::from_bytes(&[5; 32]).verifying_key()]);
    let router = tools::Router::new(
        tools::Parts {
            db: router_db.clone(),
            objects: ObjectStore::folder(&folder.path().join("objects"))?,
            runner: Runner::local(LocalConfig::default()),
            catalog: Arc::clone(&world.catalog),
            engine: Arc::clone(&world.engine),
            keys: keys().into(),
            gate: Default::default(),
            grants: Default::default(),
        },
        world.operator.id(),
        tools::Settings::default(),
    );
    let client = Client::Local(Arc::new(router));
    let engine = Embedded::new(
        orchestrator.clone(),
        client,
        world.operator.id(),
        Settings::default(),
    );
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move { engine.run(stopped).await });

    let steps = (0..STEPS).map(|n| step("prometheus", "query", json!({"query": format!("up == {n}")})));
    let checked = world.check(steps.collect()).await?;
    let ctx = &world.operator;
    let mut tx = gateway.begin(&ctx.tenant).await?;
    let plan_id = plans::insert(&mut tx, ctx, &checked).await?.plan_id;
    let approved = approval::consume(&mut tx, ctx, plan_id, &keys()).await?;
    let id = execution::start(&mut tx, ctx, &approved).await?;
    tx.commit().await?;
    let ended = async {
        loop {
            let mut tx = gateway.begin(&ctx.tenant).await?;
            let execution = execution::find(&mut tx, id)
                .await?
                .context("the execution is there")?;
            tx.commit().await?;
            if execution.completed_at.is_some() {
                anyhow::ensure!(
                    execution.status == "succeeded",
                    "{}: {:?}",
                    execution.status,
                    execution.reason
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .context("the execution ends")??;
    stop.cancel();
    running.await??;
    gateway.close().await;
    orchestrator.close().await;
    router_db.close().await;
    Ok(id)
}

/// Backends report what they did when they end, and only then are gone from the list.
async fn until_reported(admin: &PgPool, others: i64) -> anyhow::Result<()> {
    let gone = async {
        while backends(admin).await? > others {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .context("the backends of the run end")?
}

async fn backends(admin: &PgPool) -> anyhow::Result<i64> {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
    Ok(sqlx::query_scalar(count).fetch_one(admin).await?)
}

/// From one intent to the next, in milliseconds.
async fn journal(admin: &PgPool, id: ExecutionId) -> anyhow::Result<Vec<f64>> {
    let rows: Vec<(Vec<u8>, DateTime<Utc>)> =
        sqlx::query_as("SELECT event, recorded_at FROM journal WHERE execution_id = $1 ORDER BY seq")
            .bind(id.uuid())
            .fetch_all(admin)
            .await?;
    let mut intents = Vec::new();
    for (event, at) in rows {
        if matches!(serde_json::from_slice(&event)?, JournalEvent::Intended { .. }) {
            intents.push(at);
        }
    }
    anyhow::ensure!(
        intents.len() == STEPS,
        "{} intents of {STEPS} steps",
        intents.len()
    );
    let micros = |pair: &[DateTime<Utc>]| {
        (pair[1] - pair[0])
            .num_microseconds()
            .and_then(|us| i32::try_from(us).ok())
    };
    Ok(intents
        .windows(2)
        .filter_map(micros)
        .map(|us| f64::from(us) / 1000.0)
        .collect())
}

#[derive(Default)]
struct Spent {
    commits: f64,
    fsyncs: f64,
}

impl Spent {
    async fn so_far(admin: &PgPool) -> anyhow::Result<Self> {
        let (commits, fsyncs): (f64, f64) = sqlx::query_as(
            "SELECT (SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()),
               (SELECT wal_sync::float8 FROM pg_stat_wal)",
        )
        .fetch_one(admin)
        .await?;
        Ok(Self { commits, fsyncs })
    }
}

/// A Prometheus that knows one number.
async fn metrics() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1_700_000_000, "1"]}]}});
    let routes = Router::new().route("/api/v1/query", post(move || async move { Json(answer) }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url)
}
