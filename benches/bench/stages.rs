//! Stages in this process, on the database, under the role that calls them: what is left when HTTP is taken away.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use carapulse::{
    approval,
    domain::{Actor, ActorKind, OpCtx, PlanId, Role},
    intake::{self, alertmanager},
    plan::{Filter, PlanStatus, store as plans},
    store::{Db, DbRole, job},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    limits::Limits,
    measure::{Effort, Meter, rate, tight},
    server::Database,
    table::{Line, Reach, Table, time},
    world::{World, scale},
};

/// Alerts in one delivery of the intake line.
pub const ALERTS: usize = 20;

/// One decision about a plan that writes, in this process.
pub async fn policy(effort: Effort, world: &World, table: &mut Table) -> anyhow::Result<()> {
    let checked = world.check(vec![scale()]).await?;
    let input = checked.input().clone();
    let decided = tight(effort, 1, || {
        std::hint::black_box(world.engine.decide(std::hint::black_box(&input)));
    });
    let line = Line::new("policy: decision in process, p99", decided.p99_us, "µs");
    table.add(
        line.reach(Reach::AtMost(100.0))
            .note(format!("p50 {}", time(decided.p50_us))),
    );
    Ok(())
}

/// A plan with its display rows, policy decision, request for approval, two audit events, a message and two jobs, c=16; and
/// reading it. Answers the ids of the plans made.
pub async fn plans(
    effort: Effort,
    database: &Database,
    world: &Arc<World>,
    limits: &Limits,
    table: &mut Table,
) -> anyhow::Result<Vec<PlanId>> {
    let db = database.pool(DbRole::Gateway).await?;
    let made: Arc<Mutex<Vec<PlanId>>> = Arc::default();
    let (pool, at, ids) = (db.clone(), Arc::clone(world), Arc::clone(&made));
    let inserted = rate(effort, 16, Meter::Own, move |_, _| {
        let (db, world, made) = (pool.clone(), Arc::clone(&at), Arc::clone(&ids));
        async move {
            let checked = world.check(vec![scale()]).await?;
            let mut tx = db.begin(&world.operator.tenant).await?;
            let stored = plans::insert(&mut tx, &world.operator, &checked).await?;
            approval::request(&mut tx, &world.operator, &checked, stored.created_at).await?;
            tx.commit().await?;
            made.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(stored.plan_id);
            Ok(())
        }
    })
    .await?;
    table.add(
        Line::rate(
            "plan: check, policy, insert, approval request; no HTTP, c=16",
            &inserted,
        )
        .limit("fsync insert", limits.insert_per_sec)
        .reach(Reach::Share(0.25)),
    );
    let ids = made
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let (known, tenant, pool) = (ids.clone(), world.operator.tenant.clone(), db.clone());
    let read = rate(effort, 16, Meter::Own, move |_, number| {
        let (db, tenant) = (pool.clone(), tenant.clone());
        let id = known[usize::try_from(number).unwrap_or(0) % known.len()];
        async move {
            let mut tx = db.begin(&tenant).await?;
            plans::get(&mut tx, id).await?;
            tx.finish_read();
            Ok(())
        }
    })
    .await?;
    table.add(Line::rate("plan: get; no HTTP, c=16", &read).limit("indexed select", limits.select_per_sec));
    db.close().await;
    Ok(ids)
}

/// Pages of 50 plans: the first, a deep one, and one of a rare status.
pub async fn plan_pages(
    effort: Effort,
    database: &Database,
    limits: &Limits,
    rows: i64,
    deep: PlanId,
    table: &mut Table,
) -> anyhow::Result<()> {
    let db = database.pool(DbRole::Gateway).await?;
    let first = Filter {
        limit: 50,
        ..Filter::default()
    };
    let after = Filter {
        before: Some(deep),
        ..first.clone()
    };
    let rare = Filter {
        status: Some(PlanStatus::Superseded),
        ..first.clone()
    };
    for (name, filter) in [
        ("plan: page of 50", first),
        ("plan: deep page of 50", after),
        ("plan: page of 50 of a rare status", rare),
    ] {
        let (pool, filter) = (db.clone(), Arc::new(filter));
        let listed = rate(effort, 16, Meter::Own, move |_, _| {
            let (db, filter) = (pool.clone(), Arc::clone(&filter));
            async move {
                let mut tx = db.begin(&"default".parse()?).await?;
                plans::list(&mut tx, &filter).await?;
                tx.finish_read();
                Ok(())
            }
        })
        .await?;
        let name = format!("{name}, {} k plans; no HTTP, c=16", rows / 1000);
        table.add(Line::rate(name, &listed).limit("plain page of 50", limits.page_per_sec));
    }
    db.close().await;
    Ok(())
}

/// Asking for a job, leasing it and finishing it, c=16.
pub async fn jobs(
    effort: Effort,
    database: &Database,
    limits: &Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    let db = database.pool(DbRole::Orchestrator).await?;
    let (pool, ctx) = (
        db.clone(),
        OpCtx::new(Actor::system("bench"), "default".parse()?, "bench"),
    );
    let waiting = i64::try_from(effort.rounds)? * 4000;
    database
        .fill(&format!(
            "INSERT INTO job (job_id, kind, tenant_id, subject, due_at) SELECT gen_random_uuid(), 'bench', 'default',
             gen_random_uuid(), clock_timestamp() FROM generate_series(1, {waiting}); ANALYZE job"
        ))
        .await?;
    let done = rate(effort, 16, Meter::Own, move |_, _| {
        let (db, ctx) = (pool.clone(), ctx.clone());
        async move {
            let leased = job::lease(&db, &["bench"], ctx.id(), 30).await?;
            let mut tx = db.begin_global().await?;
            match leased {
                Some(lease) => job::finish(&mut tx, &lease).await?,
                // None is left: the next worker finds this one.
                None => job::enqueue(&mut tx, "bench", &ctx.tenant, Some(ctx.id::<Uuid>()), 0).await?,
            }
            Ok(tx.commit().await?)
        }
    })
    .await?;
    table.add(
        Line::rate("job: lease and finish, two commits, c=16", &done)
            .limit("fsync insert", limits.insert_per_sec),
    );
    db.close().await;
    Ok(())
}

/// Alerts to recorded, deduplicated signals, through the batcher, c=16 deliveries.
pub async fn intake(effort: Effort, database: &Database, table: &mut Table) -> anyhow::Result<()> {
    let db = database.pool(DbRole::Gateway).await?;
    let (intake, batcher) = intake::channel(db.clone());
    let stop = CancellationToken::new();
    let batching = tokio::spawn(batcher.run(stop.clone()));
    let ctx = source(&db)?;
    let taken = rate(effort, 16, Meter::Own, move |_, number| {
        let (intake, ctx) = (intake.clone(), ctx.clone());
        async move {
            let raw = delivery(number);
            intake.accept(ctx, alertmanager::parse(&raw)?, raw).await?;
            Ok(())
        }
    })
    .await?;
    stop.cancel();
    batching.await?;
    let alerts = f64::from(u32::try_from(ALERTS)?);
    table.add(
        Line::new(
            "intake: alerts to recorded signals, no HTTP, c=16",
            taken.per_sec * alerts,
            "/s",
        )
        .reach(Reach::AtLeast(2000.0))
        .note(format!(
            "{ALERTS} a delivery, half of them seen before, answered in p50 {} p99 {}",
            time(taken.p50_us),
            time(taken.p99_us)
        )),
    );
    db.close().await;
    Ok(())
}

fn source(_: &Db) -> anyhow::Result<OpCtx> {
    let actor = Actor {
        kind: ActorKind::Source,
        role: Role::Source,
        name: "alertmanager".to_owned(),
        ..Actor::system("bench")
    };
    Ok(OpCtx::new(actor, "default".parse()?, "bench"))
}

/// The body of a delivery; every other one repeats the alerts of the one before it.
pub fn delivery(number: u64) -> Bytes {
    let group = number / 2;
    let alerts: Vec<_> = (0..ALERTS)
        .map(|alert| {
            json!({
                "status": "firing",
                "labels": {"alertname": "HighErrorRate", "service": format!("service-{}", group % 500), "pod": format!("pod-{group}-{alert}")},
                "annotations": {"summary": "too many requests fail"},
                "startsAt": "2026-03-01T10:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": format!("{group:08x}{alert:08x}"),
            })
        })
        .collect();
    let body = json!({"version": "4", "groupKey": "{}", "status": "firing", "receiver": "carapulse", "alerts": alerts});
    Bytes::from(body.to_string())
}
