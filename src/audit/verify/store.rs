//! SQL that reads everything again, in windows of positions, for verification. As the gateway's role: bodies are read tenant by tenant.

use uuid::Uuid;

use crate::{
    audit::{
        merkle::{Hash, Node, NodeId},
        store::{bytes, signed, unsigned},
    },
    store::{Error, Tx},
};

/// A stored event, columns and all.
#[derive(Debug)]
pub(in crate::audit) struct Row {
    pub(in crate::audit) position: i64,
    pub(in crate::audit) event_id: Uuid,
    pub(in crate::audit) tenant_id: String,
    pub(in crate::audit) action: String,
    pub(in crate::audit) actor: String,
    pub(in crate::audit) decision: String,
    pub(in crate::audit) subject: Option<Uuid>,
    pub(in crate::audit) plan_id: Option<Uuid>,
    pub(in crate::audit) execution_id: Option<Uuid>,
    pub(in crate::audit) body: Vec<u8>,
    pub(in crate::audit) salt: Vec<u8>,
}

/// One tenant's events at positions `start..end`.
pub(in crate::audit) async fn rows_in(tx: &mut Tx, start: u64, end: u64) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as!(
        Row,
        r#"SELECT position AS "position!", event_id, tenant_id, action, actor, decision, subject, plan_id, execution_id, body, salt
           FROM audit_event WHERE position >= $1 AND position < $2"#,
        signed(start)?,
        signed(end)?,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Whether one tenant has an event at or after `size`.
pub(in crate::audit) async fn beyond(tx: &mut Tx, size: u64) -> Result<Option<u64>, Error> {
    let position = sqlx::query_scalar!(
        r#"SELECT position AS "position!" FROM audit_event WHERE position >= $1 ORDER BY position LIMIT 1"#,
        signed(size)?,
    )
    .fetch_optional(&mut **tx)
    .await?;
    position
        .map(|position| unsigned(position, "audit_event.position"))
        .transpose()
}

/// The stored nodes that become complete while a tree grows from `start` to `end` leaves.
pub(in crate::audit) async fn nodes_in(tx: &mut Tx, start: u64, end: u64) -> Result<Vec<Node>, Error> {
    let rows = sqlx::query!(
        "SELECT n.level, n.index, n.hash FROM generate_series(0, 62) AS l
         JOIN merkle_node n ON n.level = l AND n.index >= ($1::bigint >> l) AND n.index < ($2::bigint >> l)",
        signed(start)?,
        signed(end)?,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let level =
                u8::try_from(row.level).map_err(|_| Error::Corrupt("merkle_node.level".to_owned()))?;
            let hash: Hash = bytes(&row.hash, "merkle_node.hash")?;
            Ok(Node {
                id: NodeId {
                    level,
                    index: unsigned(row.index, "merkle_node.index")?,
                },
                hash,
            })
        })
        .collect()
}

/// Stored checkpoints of sizes in `after + 1 ..= end`: size, root and note, smallest first.
pub(in crate::audit) async fn checkpoints_in(
    tx: &mut Tx,
    after: u64,
    end: u64,
) -> Result<Vec<(u64, Hash, String)>, Error> {
    let rows = sqlx::query!(
        "SELECT size, root, note FROM checkpoint WHERE size > $1 AND size <= $2 ORDER BY size LIMIT 100000",
        signed(after)?,
        signed(end)?,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                unsigned(row.size, "checkpoint.size")?,
                bytes(&row.root, "checkpoint.root")?,
                row.note,
            ))
        })
        .collect()
}
