//! The orchestrator: leased background work.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Health, Listening, OnFailure, Parts, clock, keys, listen, policy, tools};
use crate::{
    approval,
    audit::{self, Sequencer, sequencer},
    config::{Brake, Notify, Orchestrator, resolve},
    domain::{Actor, OpCtx, Rotating, TenantId, WriteGate},
    execution,
    investigation::{self, Investigator},
    notify::{self, Courier, Receiver},
    store::{Db, DbRole, job, partition, tenant},
};

/// Events that wait longer than this make the role unready.
const MAX_LAG_SECS: f64 = 10.0;
/// PagerDuty's Events API v2.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Pause between two looks for work whose job is gone.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Pause between two looks for messages.
const DELIVER_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let settings: Orchestrator = parts.config.get()?;
    let db = parts.databases.pool(DbRole::Orchestrator).await?;
    let owner = OpCtx::new(Actor::system("orchestrator"), first_tenant(), "").id::<Uuid>();
    let gate = clock::watch(parts, "orchestrator", &db).await;
    keep_partitions(parts, db.clone());
    sweep(parts, db.clone());
    sequence(parts, owner).await?;
    expire(parts, &db, owner, settings.expiry_interval_secs);
    deliver(parts, &db, owner)?;
    let client = tools::client(parts)?;
    let engine = execution::Settings {
        lease_secs: settings.lease_secs,
        concurrency: settings.concurrency,
        poll: Duration::from_millis(settings.poll_interval_ms),
    };
    execute(
        parts,
        execution::Embedded::new(db.clone(), client.clone(), owner, engine),
        &gate,
    );
    let looking = investigation::Settings {
        timing: settings.verification,
        brake: parts.config.get::<Brake>()?.limits(),
        poll: Duration::from_millis(settings.poll_interval_ms),
        ..investigation::Settings::default()
    };
    let rules = policy::follow(parts, &db).await?;
    policy::page_differences(parts, &db)?;
    investigate(
        parts,
        Investigator::new(
            db.clone(),
            client,
            tools::catalog(),
            rules,
            keys::grants(parts)?,
            owner,
            looking,
        ),
        &gate,
    );
    let lag = db.clone();
    let health =
        clock::check(Health::new(&parts.lifecycle).with_database(&db), &gate).with("audit", move || {
            let db = lag.clone();
            async move { sequencer::ready(&db, MAX_LAG_SECS).await }
        });
    listen(
        parts,
        "orchestrator",
        settings.health_addr,
        health,
        Default::default(),
    )
    .await
}

/// Jobs of the whole installation stand under the first tenant.
fn first_tenant() -> TenantId {
    "default".parse().expect("a constant that is a tenant's name")
}

fn execute(parts: &Parts, engine: execution::Embedded, gate: &WriteGate) {
    let gate = gate.clone();
    parts.lifecycle.spawn("engine", OnFailure::Restart, move |stop| {
        let (engine, gate) = (engine.clone(), gate.clone());
        async move { clock::while_in_time(&gate, &stop, |turn| engine.run(turn)).await }
    });
}

fn investigate(parts: &Parts, investigator: Investigator, gate: &WriteGate) {
    let gate = gate.clone();
    parts
        .lifecycle
        .spawn("investigations", OnFailure::Restart, move |stop| {
            let (investigator, gate) = (investigator.clone(), gate.clone());
            async move { clock::while_in_time(&gate, &stop, |turn| investigator.run(turn)).await }
        });
}

async fn sequence(parts: &Parts, owner: Uuid) -> anyhow::Result<()> {
    let db = parts.databases.pool(DbRole::Sequencer).await?;
    let objects = keys::objects(parts)?;
    let key = keys::checkpoint(parts)?;
    // Before anything goes on in a database that may have been restored: if it was, nothing is written from here on.
    let mut first = Sequencer::new(db.clone(), key.clone(), objects.clone()).await?;
    if let Err(error) = first.check_published().await {
        tracing::error!(%error, "the audit log does not stand where its published checkpoints say");
    }
    parts
        .lifecycle
        .spawn("sequencer", OnFailure::Restart, move |stop| {
            let (db, key, objects) = (db.clone(), key.clone(), objects.clone());
            async move {
                Sequencer::new(db, key, objects)
                    .await?
                    .run(owner, first_tenant(), stop)
                    .await;
                Ok::<_, audit::Error>(())
            }
        });
    Ok(())
}

/// Approvals that nobody gave, or used, in time end; in every tenant that has asked for one.
fn expire(parts: &Parts, db: &Db, owner: Uuid, every_secs: u64) {
    let db = db.clone();
    parts.lifecycle.spawn("expiry", OnFailure::Restart, move |stop| {
        let db = db.clone();
        async move {
            let pause = Duration::from_secs(every_secs);
            loop {
                while let Some(lease) = job::lease(&db, &[approval::EXPIRY_JOB], owner, 30).await? {
                    let ctx = OpCtx::system("expiry", lease.tenant.clone());
                    let mut tx = db.begin(&lease.tenant).await?;
                    let (_, next) = approval::expire_due(&mut tx, &ctx).await?;
                    match next {
                        // Something is due already: more than one look takes, or somebody was just answering it.
                        Some(..=1) => job::reschedule(&mut tx, &lease, 1, None).await?,
                        // What is due later has its own job.
                        _ => job::finish(&mut tx, &lease).await?,
                    }
                    tx.commit().await?;
                }
                if stop
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_none()
                {
                    return Ok::<_, approval::Error>(());
                }
            }
        }
    });
}

fn deliver(parts: &Parts, db: &Db, owner: Uuid) -> anyhow::Result<()> {
    let (db, courier) = (db.clone(), Arc::new(Courier::new(receiver(parts)?)));
    parts.lifecycle.spawn("notify", OnFailure::Restart, move |stop| {
        let (db, courier) = (db.clone(), Arc::clone(&courier));
        async move {
            while !stop.is_cancelled() {
                if !courier.deliver_due(&db, owner).await? {
                    stop.run_until_cancelled(tokio::time::sleep(DELIVER_EVERY)).await;
                }
            }
            Ok::<_, crate::notify::Error>(())
        }
    });
    Ok(())
}

/// Where messages go; its credentials are read anew.
fn receiver(parts: &Parts) -> anyhow::Result<Option<Rotating<Receiver>>> {
    let notify: Notify = parts.config.get()?;
    let watch = &parts.secrets;
    Ok(match (notify.webhook_url, notify.pagerduty_routing_key) {
        (_, Some(key)) => {
            let read = move || {
                Ok(Receiver::PagerDuty {
                    url: PAGERDUTY.parse()?,
                    routing_key: resolve(&key)?,
                })
            };
            Some(watch.rotating("notify.pagerduty_routing_key", Receiver::is_same, read)?)
        }
        (Some(url), None) => {
            let read = move || {
                Ok(Receiver::Webhook {
                    url: resolve(&url)?.expose_secret().parse()?,
                    token: None,
                })
            };
            Some(watch.rotating("notify.webhook_url", Receiver::is_same, read)?)
        }
        (None, None) => None,
    })
}

/// Work whose job is gone gets a job again, in every tenant: jobs are rows, and rows get lost.
fn sweep(parts: &Parts, db: Db) {
    parts.lifecycle.spawn("sweep", OnFailure::Restart, move |stop| {
        let db = db.clone();
        async move {
            loop {
                let mut tx = db.begin_global().await?;
                let tenants = tenant::list(&mut tx).await?;
                tx.commit().await?;
                for tenant in tenants {
                    find_lost(&db, &tenant).await?;
                }
                let pause = tokio::time::sleep(SWEEP_EVERY);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Ok::<_, anyhow::Error>(());
                }
            }
        }
    });
}

/// One look in one tenant; says how many jobs were made anew.
async fn find_lost(db: &Db, tenant: &TenantId) -> anyhow::Result<u64> {
    let mut tx = db.begin(tenant).await?;
    let found = investigation::find_lost(&mut tx).await?
        + execution::find_lost(&mut tx).await?
        + approval::find_lost(&mut tx).await?
        + notify::find_lost(&mut tx).await?;
    tx.commit().await?;
    if found > 0 {
        tracing::warn!(%tenant, found, "work without a job was found and goes on");
        metrics::counter!("carapulse_jobs_found_total").increment(found);
    }
    Ok(found)
}

/// This month's partitions and the next two are there, however long the process runs.
fn keep_partitions(parts: &Parts, db: Db) {
    parts
        .lifecycle
        .spawn("partitions", OnFailure::Restart, move |stop| {
            let db = db.clone();
            async move {
                loop {
                    partition::ensure(&db).await?;
                    let pause = tokio::time::sleep(Duration::from_secs(6 * 3600));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return Ok::<_, crate::store::Error>(());
                    }
                }
            }
        });
}
