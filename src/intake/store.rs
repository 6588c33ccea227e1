//! Rows of `signal`, `incident` and `delivery`.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{alertmanager::Grouped, signal::SignalStatus};
use crate::{
    domain::{Digest, EventId, IncidentId, SignalId},
    store::{Error, Tx},
};

/// An alert that is about to be stored.
#[derive(Debug)]
pub(super) struct SignalRow<'a> {
    pub(super) id: SignalId,
    pub(super) alert: &'a Grouped,
    pub(super) occurrences: i64,
    pub(super) body: Vec<u8>,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) fingerprint: String,
    pub(super) firing: bool,
    /// Where it belonged before this delivery.
    pub(super) incident_id: Option<Uuid>,
    pub(super) inserted: bool,
}

/// An incident that is wanted open.
#[derive(Debug)]
pub(super) struct IncidentRow<'a> {
    pub(super) id: IncidentId,
    pub(super) title: &'a str,
}

/// The open incident of a key.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: Uuid,
    pub(super) inserted: bool,
}

/// Inserts alerts or raises their counters, in the order given. A state older than the stored one changes nothing but the counter: an
/// earlier start, or the same firing that was resolved less than five minutes ago (a delivery that was sent again late).
pub(super) async fn upsert_signals(
    tx: &mut Tx,
    rows: &BTreeMap<&str, SignalRow<'_>>,
) -> Result<Vec<Stored>, Error> {
    let rows = || rows.values();
    let ids: Vec<Uuid> = rows().map(|row| row.id.uuid()).collect();
    let sources: Vec<String> = rows().map(|row| row.alert.facts.source.clone()).collect();
    let fingerprints: Vec<String> = rows().map(|row| row.alert.facts.fingerprint.clone()).collect();
    let statuses: Vec<String> = rows()
        .map(|row| word(row.alert.facts.status).to_owned())
        .collect();
    let starts: Vec<DateTime<Utc>> = rows().map(|row| row.alert.facts.starts_at).collect();
    let ends: Vec<Option<DateTime<Utc>>> = rows().map(|row| row.alert.facts.ends_at).collect();
    let counts: Vec<i64> = rows().map(|row| row.occurrences).collect();
    let bodies: Vec<Vec<u8>> = rows().map(|row| row.body.clone()).collect();
    let stored = sqlx::query!(
        r#"INSERT INTO signal AS s (signal_id, tenant_id, source, fingerprint, status, starts_at, ends_at, occurrences,
                                    first_seen_at, last_seen_at, body)
           SELECT new.id, current_tenant(), new.source, new.fingerprint, new.status, new.starts_at, new.ends_at, new.occurrences,
                  clock.now, clock.now, new.body
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[], $8::bytea[])
                AS new (id, source, fingerprint, status, starts_at, ends_at, occurrences, body),
                (SELECT db_now() AS now) AS clock
           ORDER BY new.source, new.fingerprint
           ON CONFLICT (tenant_id, source, fingerprint) DO UPDATE SET
             occurrences = s.occurrences + excluded.occurrences,
             last_seen_at = excluded.last_seen_at,
             (status, starts_at, ends_at, body) = (
               SELECT CASE WHEN old THEN s.status ELSE excluded.status END, CASE WHEN old THEN s.starts_at ELSE excluded.starts_at END,
                      CASE WHEN old THEN s.ends_at ELSE excluded.ends_at END, CASE WHEN old THEN s.body ELSE excluded.body END
               FROM (SELECT excluded.starts_at < s.starts_at
                       OR (excluded.starts_at = s.starts_at AND s.status = 'resolved' AND excluded.status = 'firing'
                           AND s.last_seen_at > excluded.last_seen_at - interval '5 minutes') AS old) AS age)
           RETURNING s.fingerprint, s.status, s.incident_id, (s.xmax = 0) AS "inserted!""#,
        &ids,
        &sources,
        &fingerprints,
        &statuses,
        &starts,
        &ends as &[Option<DateTime<Utc>>],
        &counts,
        &bodies,
    )
    .fetch_all(&mut **tx)
    .await?;
    let stored = stored.into_iter().map(|row| Stored {
        fingerprint: row.fingerprint,
        firing: row.status == "firing",
        incident_id: row.incident_id,
        inserted: row.inserted,
    });
    Ok(stored.collect())
}

/// Finds or opens the incident of each key and locks it, so that nobody resolves it meanwhile.
pub(super) async fn upsert_incidents(
    tx: &mut Tx,
    wanted: &BTreeMap<&str, IncidentRow<'_>>,
) -> Result<BTreeMap<String, Opened>, Error> {
    let ids: Vec<Uuid> = wanted.values().map(|row| row.id.uuid()).collect();
    let keys: Vec<String> = wanted.keys().map(|&key| key.to_owned()).collect();
    let titles: Vec<String> = wanted.values().map(|row| row.title.to_owned()).collect();
    let rows = sqlx::query!(
        r#"INSERT INTO incident AS i (incident_id, tenant_id, group_key, title, status, stage, opened_at)
           SELECT new.id, current_tenant(), new.group_key, new.title, 'open', 'received', db_now()
           FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, group_key, title)
           ORDER BY new.group_key
           ON CONFLICT (tenant_id, group_key) WHERE status = 'open' DO UPDATE SET title = i.title
           RETURNING i.incident_id, i.group_key, (i.xmax = 0) AS "inserted!""#,
        &ids,
        &keys,
        &titles,
    )
    .fetch_all(&mut **tx)
    .await?;
    let rows = rows.into_iter().map(|row| {
        (
            row.group_key,
            Opened {
                id: row.incident_id,
                inserted: row.inserted,
            },
        )
    });
    Ok(rows.collect())
}

/// Links each (fingerprint, group key) to its incident.
pub(super) async fn update_signal_incidents(
    tx: &mut Tx,
    members: &[(&str, &str)],
    incidents: &BTreeMap<String, Opened>,
) -> Result<(), Error> {
    let linked = || {
        members
            .iter()
            .filter_map(|(fingerprint, key)| Some((fingerprint, incidents.get(*key)?.id)))
    };
    let fingerprints: Vec<String> = linked()
        .map(|(fingerprint, _)| (*fingerprint).to_owned())
        .collect();
    let ids: Vec<Uuid> = linked().map(|(_, id)| id).collect();
    sqlx::query!(
        "UPDATE signal AS s SET incident_id = new.incident_id
         FROM unnest($1::text[], $2::uuid[]) AS new (fingerprint, incident_id)
         WHERE s.tenant_id = current_tenant() AND s.source = $3 AND s.fingerprint = new.fingerprint
           AND s.incident_id IS DISTINCT FROM new.incident_id",
        &fingerprints,
        &ids,
        super::alertmanager::SOURCE,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes those of the given incidents in which nothing fires any more.
pub(super) async fn resolve_incidents(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<IncidentId>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // Locked first, in a statement of its own: the second one then sees every alert that was linked before the lock was had.
    sqlx::query!(
        "SELECT incident_id FROM incident WHERE tenant_id = current_tenant() AND incident_id = ANY($1) AND status = 'open'
         ORDER BY group_key FOR UPDATE",
        ids
    )
    .fetch_all(&mut **tx)
    .await?;
    let closed = sqlx::query_scalar!(
        "UPDATE incident AS i SET status = 'resolved', resolved_at = db_now()
         WHERE i.tenant_id = current_tenant() AND i.incident_id = ANY($1) AND i.status = 'open'
           AND NOT EXISTS (SELECT 1 FROM signal s
                           WHERE s.tenant_id = current_tenant() AND s.incident_id = i.incident_id AND s.status = 'firing')
         RETURNING i.incident_id",
        ids
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(closed.into_iter().map(Into::into).collect())
}

/// Stores the digests of the bodies as they came, and what is kept of them.
pub(super) async fn insert_deliveries<'a>(
    tx: &mut Tx,
    deliveries: impl Iterator<Item = (EventId, &'a Bytes, &'a Bytes, usize)>,
) -> Result<(), Error> {
    let (mut ids, mut digests, mut bodies, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, raw, kept, alerts) in deliveries {
        ids.push(id.uuid());
        digests.push(Digest::of_content(raw).as_bytes().to_vec());
        bodies.push(kept.to_vec());
        counts.push(i32::try_from(alerts).unwrap_or(i32::MAX));
    }
    sqlx::query!(
        "INSERT INTO delivery (delivery_id, tenant_id, source, body_digest, body, alerts)
         SELECT new.id, current_tenant(), $5, new.digest, new.body, new.alerts
         FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::integer[]) AS new (id, digest, body, alerts)",
        &ids,
        &digests,
        &bodies,
        &counts,
        super::alertmanager::SOURCE,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

const fn word(status: SignalStatus) -> &'static str {
    match status {
        SignalStatus::Firing => "firing",
        SignalStatus::Resolved => "resolved",
    }
}
