//! SQL that orders the log: positions, `merkle_node`, `audit_head`, `checkpoint`; and that reads nodes for proofs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    audit::{
        Lag, SignedCheckpoint,
        merkle::{Frontier, Hash, Node, NodeId},
        store::{bytes, signed, unsigned},
    },
    domain::Digest,
    store::{Error, Tx},
};

/// How far the log has been sequenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) struct Head {
    pub(in crate::audit) size: u64,
    pub(in crate::audit) sequenced_at: Option<DateTime<Utc>>,
}

/// Which installation, and which generation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) struct Installation {
    pub(in crate::audit) installation_id: Uuid,
    pub(in crate::audit) generation: i64,
    pub(in crate::audit) read_only: bool,
}

/// Committed rows without a position, in the order in which they get one.
#[derive(Debug, Default)]
pub(in crate::audit) struct Batch {
    pub(in crate::audit) event_ids: Vec<Uuid>,
    pub(in crate::audit) recorded_at: Vec<DateTime<Utc>>,
    pub(in crate::audit) leaves: Vec<Hash>,
}

pub(in crate::audit) async fn installation(tx: &mut Tx) -> Result<Installation, Error> {
    let row = sqlx::query!("SELECT installation_id, generation, read_only FROM installation")
        .fetch_one(&mut **tx)
        .await?;
    Ok(Installation {
        installation_id: row.installation_id,
        generation: row.generation,
        read_only: row.read_only,
    })
}

/// As the owner: a new generation, read-only until somebody lifts that.
pub(in crate::audit) async fn raise_generation(tx: &mut Tx) -> Result<i64, Error> {
    let generation = sqlx::query_scalar!(
        "UPDATE installation SET generation = generation + 1, read_only = true RETURNING generation"
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(generation)
}

/// Who may, the database knows: serving roles may only begin it.
pub(in crate::audit) async fn set_read_only(tx: &mut Tx, read_only: bool) -> Result<(), Error> {
    sqlx::query!("UPDATE installation SET read_only = $1", read_only)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(in crate::audit) async fn head(tx: &mut Tx) -> Result<Head, Error> {
    let row = sqlx::query!("SELECT size, sequenced_at FROM audit_head")
        .fetch_one(&mut **tx)
        .await?;
    Ok(Head {
        size: unsigned(row.size, "audit_head.size")?,
        sequenced_at: row.sequenced_at,
    })
}

/// Locks the head to the end of the transaction and answers the log's size; none when a later epoch was here.
pub(in crate::audit) async fn claim_head(tx: &mut Tx, epoch: i64) -> Result<Option<u64>, Error> {
    let size = sqlx::query_scalar!(
        "UPDATE audit_head SET epoch = $1 WHERE epoch <= $1 RETURNING size",
        epoch
    )
    .fetch_optional(&mut **tx)
    .await?;
    size.map(|size| unsigned(size, "audit_head.size")).transpose()
}

pub(in crate::audit) async fn anything_unsequenced(tx: &mut Tx) -> Result<bool, Error> {
    let any =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM audit_event WHERE position IS NULL) AS "any!""#)
            .fetch_one(&mut **tx)
            .await?;
    Ok(any)
}

pub(in crate::audit) async fn unsequenced(tx: &mut Tx, limit: u32) -> Result<Batch, Error> {
    let rows = sqlx::query!(
        "SELECT event_id, recorded_at, leaf_hash FROM audit_event WHERE position IS NULL
         ORDER BY recorded_at, event_id LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut batch = Batch::default();
    for row in rows {
        batch.event_ids.push(row.event_id);
        batch.recorded_at.push(row.recorded_at);
        batch.leaves.push(bytes(&row.leaf_hash, "audit_event.leaf_hash")?);
    }
    Ok(batch)
}

/// Gives the batch the positions from `first` on, stores the new nodes, moves the head and wakes the listeners: one statement.
pub(in crate::audit) async fn place(
    tx: &mut Tx,
    first: u64,
    batch: &Batch,
    nodes: &[Node],
) -> Result<(), Error> {
    let count = batch.event_ids.len();
    let levels: Vec<i16> = nodes.iter().map(|node| i16::from(node.id.level)).collect();
    let indexes: Vec<i64> = nodes
        .iter()
        .map(|node| signed(node.id.index))
        .collect::<Result<_, _>>()?;
    let hashes: Vec<Vec<u8>> = nodes.iter().map(|node| node.hash.to_vec()).collect();
    let placed = sqlx::query_scalar!(
        r#"WITH wanted AS (
             SELECT event_id, recorded_at, $1::bigint + ordinal - 1 AS position
             FROM unnest($2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS w (event_id, recorded_at, ordinal)),
           placed AS (
             UPDATE audit_event AS e SET position = wanted.position FROM wanted
             WHERE e.recorded_at = wanted.recorded_at AND e.event_id = wanted.event_id AND e.position IS NULL
             RETURNING 1),
           grown AS (
             INSERT INTO merkle_node (level, index, hash) SELECT * FROM unnest($4::smallint[], $5::bigint[], $6::bytea[])),
           moved AS (
             UPDATE audit_head SET size = $1 + cardinality($2), sequenced_at = clock_timestamp() RETURNING size),
           told AS MATERIALIZED (
             SELECT pg_notify('carapulse_events', size::text) FROM moved)
           SELECT (SELECT count(*) FROM placed) AS "placed!" FROM told"#,
        signed(first)?,
        &batch.event_ids,
        &batch.recorded_at,
        &levels,
        &indexes,
        &hashes,
    )
    .fetch_one(&mut **tx)
    .await?;
    if usize::try_from(placed) != Ok(count) {
        return Err(Error::Corrupt(format!(
            "{placed} of {count} audit events could be placed"
        )));
    }
    Ok(())
}

/// The stored ones of `wanted`.
pub(in crate::audit) async fn find_nodes(
    tx: &mut Tx,
    wanted: &[NodeId],
) -> Result<HashMap<NodeId, Hash>, Error> {
    let levels: Vec<i16> = wanted.iter().map(|id| i16::from(id.level)).collect();
    let indexes: Vec<i64> = wanted
        .iter()
        .map(|id| signed(id.index))
        .collect::<Result<_, _>>()?;
    let rows = sqlx::query!(
        "SELECT n.level, n.index, n.hash FROM unnest($1::smallint[], $2::bigint[]) AS w (level, index)
         JOIN merkle_node n ON n.level = w.level AND n.index = w.index",
        &levels,
        &indexes,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let level =
                u8::try_from(row.level).map_err(|_| Error::Corrupt("merkle_node.level".to_owned()))?;
            let id = NodeId {
                level,
                index: unsigned(row.index, "merkle_node.index")?,
            };
            Ok((id, bytes(&row.hash, "merkle_node.hash")?))
        })
        .collect()
}

/// Committed events that wait for a position (counted up to 100 000), and the age of the oldest.
pub(in crate::audit) async fn lag(tx: &mut Tx) -> Result<Lag, Error> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "events!",
             coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at))::float8, 0) AS "seconds!"
           FROM (SELECT recorded_at FROM audit_event WHERE position IS NULL ORDER BY recorded_at, event_id LIMIT 100000) AS w"#
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Lag {
        events: unsigned(row.events, "count")?,
        seconds: row.seconds.max(0.0),
    })
}

/// Stores a signed head, or does nothing when one of that size is there.
pub(in crate::audit) async fn insert_checkpoint(
    tx: &mut Tx,
    tree: &Frontier,
    generation: i64,
    note: &str,
) -> Result<(), Error> {
    let root = tree.root();
    sqlx::query!(
        "INSERT INTO checkpoint (size, root, generation, note, newest_recorded_at)
         SELECT $1::bigint, $2, $3, $4, e.recorded_at FROM audit_event e WHERE e.position = $1::bigint - 1
         ON CONFLICT (size) DO NOTHING",
        signed(tree.size())?,
        root.as_slice(),
        generation,
        note,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct CheckpointRow {
    size: i64,
    root: Vec<u8>,
    generation: i64,
    note: String,
    signed_at: DateTime<Utc>,
}

pub(in crate::audit) async fn latest_checkpoint(tx: &mut Tx) -> Result<Option<SignedCheckpoint>, Error> {
    sqlx::query_as!(
        CheckpointRow,
        "SELECT size, root, generation, note, signed_at FROM checkpoint ORDER BY size DESC LIMIT 1"
    )
    .fetch_optional(&mut **tx)
    .await?
    .map(signed_checkpoint)
    .transpose()
}

pub(in crate::audit) async fn unpublished(tx: &mut Tx, limit: u32) -> Result<Vec<SignedCheckpoint>, Error> {
    sqlx::query_as!(
        CheckpointRow,
        "SELECT size, root, generation, note, signed_at FROM checkpoint WHERE published_at IS NULL ORDER BY size LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(signed_checkpoint)
    .collect()
}

pub(in crate::audit) async fn mark_published(tx: &mut Tx, sizes: &[u64]) -> Result<(), Error> {
    let sizes: Vec<i64> = sizes.iter().map(|size| signed(*size)).collect::<Result<_, _>>()?;
    sqlx::query!(
        "UPDATE checkpoint SET published_at = clock_timestamp() WHERE size = ANY($1)",
        &sizes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn signed_checkpoint(row: CheckpointRow) -> Result<SignedCheckpoint, Error> {
    Ok(SignedCheckpoint {
        size: unsigned(row.size, "checkpoint.size")?,
        root: Digest::from_bytes(bytes(&row.root, "checkpoint.root")?),
        generation: row.generation,
        note: row.note,
        signed_at: row.signed_at,
    })
}
