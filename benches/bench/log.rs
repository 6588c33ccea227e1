//! The audit log: recording with the sequencer at work, pages, and the whole log again.

use std::{sync::Arc, time::Duration};

use carapulse::{
    audit::{
        self, Event, Filter, Order, Page, Sequencer, leaf,
        merkle::{Frontier, leaf_hash},
        sequencer, verify,
    },
    domain::{Actor, OpCtx},
    store::{Db, DbRole, ObjectStore},
};
use ed25519_dalek::SigningKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    limits::Limits,
    measure::{Effort, Meter, percentile, rate, tight},
    server::{Database, Folder},
    table::{Line, Reach, Table, time},
};

/// Adds the lines about recording, lag and verification.
pub async fn measure(
    effort: Effort,
    database: &Database,
    folder: &Folder,
    limits: &Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    let gateway = database.pool(DbRole::Gateway).await?;
    let all = database.pool(DbRole::Sequencer).await?;
    let objects = ObjectStore::folder(&folder.path().join("checkpoints"))?;
    let ordering = Sequencer::new(all.clone(), SigningKey::from_bytes(&[42; 32]), objects).await?;
    let keys = [ordering.verifier().clone()];
    let stop = CancellationToken::new();
    let owner = context().id();
    let running = tokio::spawn(ordering.run(owner, "default".parse()?, stop.clone()));

    let lags = tokio::spawn(watch(all.clone(), stop.clone()));
    let recording = gateway.clone();
    let recorded = rate(effort, 16, Meter::Own, move |_, number| {
        let db = recording.clone();
        async move {
            let ctx = context();
            let mut tx = db.begin(&ctx.tenant).await?;
            audit::record(
                &mut tx,
                &ctx,
                Event::new("bench.done", json!({"n": number, "why": "measured"})),
            )
            .await?;
            Ok(tx.commit().await?)
        }
    })
    .await?;
    let began = std::time::Instant::now();
    while sequencer::lag(&all).await?.events > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let behind = began.elapsed();
    stop.cancel();
    running.await?;
    let mut lags = lags.await??;
    table.add(
        Line::rate("audit: events recorded and sequenced, c=16", &recorded)
            .limit("fsync insert", limits.insert_per_sec)
            .reach(Reach::AtLeast(5000.0)),
    );
    table.add(
        Line::new(
            "audit: sequencer lag under that load, p50",
            percentile(&mut lags, 50),
            "ms",
        )
        .note(format!(
            "p99 {:.0} ms, caught up {} after the last",
            percentile(&mut lags, 99),
            time(behind.as_secs_f64() * 1e6)
        )),
    );
    proofs(effort, limits, table);
    let began = std::time::Instant::now();
    let report = verify::verify_log(&gateway, &keys, &[]).await?;
    anyhow::ensure!(report.passed(), "the log does not verify: {report:?}");
    #[expect(clippy::cast_precision_loss, reason = "a count of this run")]
    let per_sec = report.size as f64 / began.elapsed().as_secs_f64();
    table.add(
        Line::new("audit: whole log verified from the database", per_sec, "/s")
            .note(format!("{} events", report.size)),
    );
    Ok(())
}

/// The age of the oldest waiting event, in milliseconds, looked at all the time.
async fn watch(db: Db, stop: CancellationToken) -> anyhow::Result<Vec<f64>> {
    let mut lags = Vec::new();
    while stop
        .run_until_cancelled(tokio::time::sleep(Duration::from_millis(20)))
        .await
        .is_some()
    {
        lags.push(sequencer::lag(&db).await?.seconds * 1000.0);
    }
    Ok(lags)
}

/// The arithmetic of verification: a salted leaf and its share of the tree, one thread.
fn proofs(effort: Effort, limits: &Limits, table: &mut Table) {
    let body = vec![b'x'; 400];
    let mut tree = Frontier::default();
    let one = tight(effort, 1000, || {
        let leaf = leaf::hash(&[7; 16], &body);
        tree.append([leaf], |_| {});
    });
    std::hint::black_box(tree.root());
    let hash = tight(effort, 1000, || {
        std::hint::black_box(leaf_hash(&body));
    });
    table.add(
        Line::rate("audit: leaves of 400 bytes hashed into the tree", &one)
            .limit("SHA-256 of the leaf", hash.per_sec)
            .reach(Reach::AtLeast(500_000.0))
            .note(format!("65-byte hashes: {:.1} M/s", limits.hash_per_sec / 1e6)),
    );
}

/// Pages of 50, first and deep, with and without a filter.
pub async fn pages(
    effort: Effort,
    database: &Database,
    limits: &Limits,
    rows: i64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let gateway = database.pool(DbRole::Gateway).await?;
    let deep = u64::try_from(rows / 1000)?;
    let filtered = Filter {
        action: Some("bench.rare".to_owned()),
        ..Filter::default()
    };
    for (name, filter, after) in [
        ("audit: page of 50", Filter::default(), None),
        ("audit: deep page of 50", Filter::default(), Some(deep)),
        ("audit: page of 50 of a rare action", filtered, None),
    ] {
        let (db, filter) = (gateway.clone(), Arc::new(filter));
        let page = Page {
            order: Order::NewestFirst,
            after,
            limit: 50,
        };
        let measured = rate(effort, 16, Meter::Own, move |_, _| {
            let (db, filter) = (db.clone(), Arc::clone(&filter));
            async move {
                let mut tx = db.begin(&"default".parse()?).await?;
                audit::list(&mut tx, &filter, &page).await?;
                Ok(tx.commit().await?)
            }
        })
        .await?;
        let name = format!("{name}, {} k events, c=16", rows / 1000);
        table.add(Line::rate(name, &measured).limit("plain page of 50", limits.page_per_sec));
    }
    gateway.close().await;
    Ok(())
}

fn context() -> OpCtx {
    OpCtx::new(
        Actor::system("bench"),
        "default".parse().expect("a constant that is a tenant's name"),
        "bench",
    )
}
