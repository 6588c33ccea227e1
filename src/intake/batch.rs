//! Group commit: deliveries that arrive while a commit runs share the next one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error, JOB, Waiting,
    alertmanager::Grouped,
    signal::SignalStatus,
    store::{self, IncidentRow, SignalRow},
};
use crate::{
    audit,
    domain::{Digest, IncidentId, OpCtx, TenantId, canonical},
    store::{Db, Tx, job},
};

/// Most alerts in one transaction, but for a single delivery that has more.
const MAX_BATCH_ALERTS: usize = 500;
/// How often a batch is tried when it collides with another gateway's.
const TRIES: usize = 4;

/// Commits what the intake took, batch by batch. One a process.
#[derive(Debug)]
pub struct Batcher {
    db: Db,
    receiver: mpsc::Receiver<Waiting>,
}

impl Batcher {
    pub(super) fn new(db: Db, receiver: mpsc::Receiver<Waiting>) -> Self {
        Self { db, receiver }
    }

    /// Works until all senders are gone, or until `stop`; then commits what still waits and ends.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.receiver.recv() => first,
                () = stop.cancelled() => {
                    self.receiver.close();
                    self.receiver.recv().await
                }
            };
            let Some(first) = first else { return };
            let batches = self.gather(first);
            let work = batches.into_values().map(|batch| commit(&self.db, batch));
            futures::future::join_all(work).await;
        }
    }

    /// Everything that waits now, up to a batch, by tenant. Nothing is waited for: while a commit runs, the next batch grows.
    fn gather(&mut self, first: Waiting) -> BTreeMap<TenantId, Vec<Waiting>> {
        let mut alerts = first.delivery.alerts.len();
        let mut batches = BTreeMap::from([(first.ctx.tenant.clone(), vec![first])]);
        while alerts < MAX_BATCH_ALERTS {
            let Ok(next) = self.receiver.try_recv() else { break };
            alerts += next.delivery.alerts.len();
            batches.entry(next.ctx.tenant.clone()).or_default().push(next);
        }
        batches
    }
}

/// Commits one tenant's batch and answers its senders. A batch that cannot be stored is tried delivery by delivery.
async fn commit(db: &Db, batch: Vec<Waiting>) {
    let result = try_commit(db, &batch).await;
    if result.is_err() && batch.len() > 1 {
        for waiting in batch {
            let alone = try_commit(db, std::slice::from_ref(&waiting)).await;
            let _ = waiting.answer.send(alone.map_err(failed));
        }
        return;
    }
    let answer = result.map_err(failed);
    for waiting in batch {
        // A sender that went away does not change what was stored.
        let _ = waiting.answer.send(answer.clone());
    }
}

fn failed(error: audit::Error) -> Error {
    tracing::error!(%error, "a delivery was not stored");
    metrics::counter!("carapulse_intake_failed_deliveries_total").increment(1);
    Error::Store("the database did not take it".to_owned())
}

async fn try_commit(db: &Db, batch: &[Waiting]) -> Result<(), audit::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match commit_once(db, batch).await {
            Err(audit::Error::Store(error)) if error.is_retryable() && tries < TRIES => {
                tracing::debug!(%error, tries, "a batch of deliveries collided and is tried again");
            }
            other => return other,
        }
    }
}

async fn commit_once(db: &Db, batch: &[Waiting]) -> Result<(), audit::Error> {
    let Some(first) = batch.first() else { return Ok(()) };
    let ctx = &first.ctx;
    let mut tx = db.begin(&ctx.tenant).await?;
    let alerts = deduplicated(ctx, batch.iter().flat_map(|waiting| &waiting.delivery.alerts))?;
    let stored = store::upsert_signals(&mut tx, &alerts).await?;
    let opened = open_incidents(&mut tx, ctx, &alerts, &stored).await?;
    let left: BTreeSet<Uuid> = stored.iter().filter_map(|signal| signal.incident_id).collect();
    let resolved = store::resolve_incidents(&mut tx, &left.into_iter().collect::<Vec<_>>()).await?;
    for incident_id in &resolved {
        let event = audit::Event::new("incident.resolve", json!({"incident_id": incident_id}));
        audit::record(&mut tx, ctx, event.subject(incident_id.uuid())).await?;
    }
    store::insert_deliveries(
        &mut tx,
        batch.iter().map(|waiting| {
            (
                waiting.event_id,
                &waiting.raw,
                &waiting.kept,
                waiting.delivery.alerts.len(),
            )
        }),
    )
    .await?;
    record_deliveries(&mut tx, batch).await?;
    tx.commit().await?;
    count(batch, &stored, opened, resolved.len());
    Ok(())
}

/// One row a fingerprint, in the order of fingerprints so that two batches lock rows in the same order. The newest state wins.
fn deduplicated<'a>(
    ctx: &OpCtx,
    alerts: impl Iterator<Item = &'a Grouped>,
) -> Result<BTreeMap<&'a str, SignalRow<'a>>, audit::Error> {
    let mut rows: BTreeMap<&str, SignalRow<'_>> = BTreeMap::new();
    for alert in alerts {
        let age = |alert: &Grouped| -> (DateTime<Utc>, bool) {
            (
                alert.facts.starts_at,
                alert.facts.status == SignalStatus::Resolved,
            )
        };
        match rows.get_mut(alert.facts.fingerprint.as_str()) {
            None => {
                let row = SignalRow {
                    id: ctx.id(),
                    alert,
                    occurrences: 1,
                    body: Vec::new(),
                };
                rows.insert(&alert.facts.fingerprint, row);
            }
            Some(row) => {
                row.occurrences += 1;
                if age(alert) >= age(row.alert) {
                    row.alert = alert;
                }
            }
        }
    }
    for row in rows.values_mut() {
        row.body = canonical::to_bytes(&row.alert.facts)?;
    }
    Ok(rows)
}

/// Opens (or finds) the incident of every alert that fires and links them; a new incident gets its job. Returns how many are new.
async fn open_incidents(
    tx: &mut Tx,
    ctx: &OpCtx,
    alerts: &BTreeMap<&str, SignalRow<'_>>,
    stored: &[store::Stored],
) -> Result<usize, audit::Error> {
    let mut wanted: BTreeMap<&str, IncidentRow<'_>> = BTreeMap::new();
    let mut members: Vec<(&str, &str)> = Vec::new();
    for signal in stored.iter().filter(|signal| signal.firing) {
        let Some(row) = alerts.get(signal.fingerprint.as_str()) else {
            continue;
        };
        wanted.entry(&row.alert.group_key).or_insert_with(|| IncidentRow {
            id: ctx.id(),
            title: &row.alert.title,
        });
        members.push((&signal.fingerprint, &row.alert.group_key));
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    let incidents = store::upsert_incidents(tx, &wanted).await?;
    store::update_signal_incidents(tx, &members, &incidents).await?;
    let mut opened = 0;
    for (key, incident) in incidents.iter().filter(|(_, incident)| incident.inserted) {
        opened += 1;
        let incident_id: IncidentId = incident.id.into();
        let details =
            json!({"incident_id": incident_id, "group_key": ascii(key), "title": wanted[key.as_str()].title});
        audit::record(
            tx,
            ctx,
            audit::Event::new("incident.open", details).subject(incident.id),
        )
        .await?;
        job::enqueue(tx, JOB, &ctx.tenant, Some(incident.id), 0).await?;
    }
    Ok(opened)
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// One audit event for each token that delivered, naming every delivery by its digest.
async fn record_deliveries(tx: &mut Tx, batch: &[Waiting]) -> Result<(), audit::Error> {
    let mut by_token: BTreeMap<_, Vec<&Waiting>> = BTreeMap::new();
    for waiting in batch {
        by_token
            .entry(waiting.ctx.actor.token_id)
            .or_default()
            .push(waiting);
    }
    for deliveries in by_token.into_values() {
        let list: Vec<_> = deliveries
            .iter()
            .map(|waiting| {
                json!({
                    "event_id": waiting.event_id,
                    "body_digest": Digest::of_content(&waiting.raw),
                    "alerts": waiting.delivery.alerts.len(),
                })
            })
            .collect();
        let event = audit::Event::new(
            "hook.received",
            json!({"source": super::alertmanager::SOURCE, "deliveries": list}),
        );
        audit::record(tx, &deliveries[0].ctx, event).await?;
    }
    Ok(())
}

fn count(batch: &[Waiting], stored: &[store::Stored], opened: usize, resolved: usize) {
    let received: usize = batch.iter().map(|waiting| waiting.delivery.alerts.len()).sum();
    let fresh = stored.iter().filter(|signal| signal.inserted).count();
    metrics::counter!("carapulse_intake_deliveries_total").increment(batch.len() as u64);
    metrics::counter!("carapulse_intake_alerts_received_total").increment(received as u64);
    metrics::counter!("carapulse_intake_alerts_deduplicated_total").increment((received - fresh) as u64);
    metrics::counter!("carapulse_intake_incidents_opened_total").increment(opened as u64);
    metrics::counter!("carapulse_intake_incidents_resolved_total").increment(resolved as u64);
}
