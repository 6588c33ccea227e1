//! Rows of `target` and `target_change`.

use uuid::Uuid;

use super::Change;
use crate::{
    domain::{OpCtx, PersonId, Target, TargetMode, canonical},
    store::{Error, Tx},
};

pub(super) async fn find(tx: &mut Tx, name: &str) -> Result<Option<Target>, Error> {
    let doc = sqlx::query_scalar!(
        "SELECT doc FROM target WHERE tenant_id = current_tenant() AND name = $1",
        name
    )
    .fetch_optional(&mut **tx)
    .await?;
    doc.map(|doc| open(&doc)).transpose()
}

/// Holds the name until the end of the transaction, whether or not there is a row yet.
pub(super) async fn lock(tx: &mut Tx, name: &str) -> Result<Option<Target>, Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended(format('carapulse target %s %s', current_tenant(), $1::text), 0))",
        name
    )
    .fetch_one(&mut **tx)
    .await?;
    find(tx, name).await
}

pub(super) async fn list(tx: &mut Tx) -> Result<Vec<Target>, Error> {
    let docs = sqlx::query_scalar!(
        "SELECT doc FROM target WHERE tenant_id = current_tenant() ORDER BY name LIMIT 1000"
    )
    .fetch_all(&mut **tx)
    .await?;
    docs.iter().map(|doc| open(doc)).collect()
}

pub(super) async fn upsert(tx: &mut Tx, ctx: &OpCtx, target: &Target, doc: &[u8]) -> Result<(), Error> {
    let mode = match target.mode {
        TargetMode::Observe => "observe",
        TargetMode::Propose => "propose",
        TargetMode::Act => "act",
    };
    sqlx::query!(
        "INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, db_now())
         ON CONFLICT (tenant_id, name) DO UPDATE SET version = excluded.version, environment = excluded.environment,
           mode = excluded.mode, doc = excluded.doc, updated_at = excluded.updated_at",
        target.target_id.uuid(),
        ctx.tenant.as_str(),
        target.name,
        target.version,
        target.context.environment,
        mode,
        doc
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_change(
    tx: &mut Tx,
    ctx: &OpCtx,
    change: &Change,
    doc: &[u8],
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO target_change (change_id, tenant_id, name, base_version, doc, proposed_by, proposed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        change.change_id,
        ctx.tenant.as_str(),
        change.name,
        change.base_version,
        doc,
        change.proposed_by.uuid(),
        change.proposed_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn update_superseded(tx: &mut Tx, name: &str) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE target_change SET status = 'superseded', decided_at = db_now()
         WHERE tenant_id = current_tenant() AND name = $1 AND status = 'pending'",
        name
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn update_confirmed(tx: &mut Tx, change_id: Uuid, person: PersonId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE target_change SET status = 'confirmed', decided_by = $2, decided_at = db_now()
         WHERE tenant_id = current_tenant() AND change_id = $1 AND status = 'pending'",
        change_id,
        person.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn find_pending(tx: &mut Tx, name: &str) -> Result<Option<Change>, Error> {
    let changes = list_pending(tx).await?;
    Ok(changes.into_iter().find(|change| change.name == name))
}

pub(super) async fn list_pending(tx: &mut Tx) -> Result<Vec<Change>, Error> {
    let rows = sqlx::query!(
        "SELECT change_id, name, base_version, doc, proposed_by, proposed_at FROM target_change
         WHERE tenant_id = current_tenant() AND status = 'pending' ORDER BY name LIMIT 1000"
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Change {
                change_id: row.change_id,
                name: row.name,
                base_version: row.base_version,
                target: open(&row.doc)?,
                proposed_by: row.proposed_by.into(),
                proposed_at: row.proposed_at,
            })
        })
        .collect()
}

fn open(doc: &[u8]) -> Result<Target, Error> {
    canonical::from_bytes(doc).map_err(|error| Error::Corrupt(format!("a target does not read: {error}")))
}
