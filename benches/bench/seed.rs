//! Many rows, fast. Their bytes are no plans and no events: lists never look into them, and what does is measured on real ones.

use anyhow::Context as _;
use carapulse::domain::PlanId;
use uuid::Uuid;

use crate::server::Database;

/// Ids of a past time, ascending by `g`, distinct for each `$kind` digit.
const ID: &str = "(lpad(to_hex(1600000000000 + g), 12, '0') || '7' || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid";

/// Fills up to `rows` plans, three approvals for every four of them. Answers a plan 100 rows from the oldest end.
pub async fn plans(database: &Database, rows: i64) -> anyhow::Result<PlanId> {
    let pool = database.superuser(1).await?;
    let seeded = "SELECT count(*) FROM plan WHERE plan_id < '017fffff-0000-7000-8000-000000000000'";
    let have: i64 = sqlx::query_scalar(seeded).fetch_one(&pool).await?;
    database
        .fill(&format!(
            "INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, risk_level, target_name,
               created_at, updated_at)
             SELECT {ID}, 'default', CASE WHEN g % 10000 = 7 THEN 'superseded' WHEN g % 4 = 0 THEN 'executed' ELSE 'expired' END, 1,
               repeat('x', 1500)::bytea, sha256(g::text::bytea), 'alert', 'scale deployment/checkout to 5', 'medium', 'shop',
               to_timestamp(1600000000 + g), to_timestamp(1600000000 + g)
             FROM generate_series({first}, {rows}) g;
             INSERT INTO approval (approval_id, tenant_id, plan_id, digest, tier, status, requested_at, expires_at)
             SELECT {ID}, 'default', {ID}, sha256(g::text::bytea), 'standard', CASE WHEN g % 4 = 0 THEN 'consumed' ELSE 'expired' END,
               to_timestamp(1600000000 + g), to_timestamp(1600000900 + g)
             FROM generate_series({first}, {rows}) g WHERE g % 4 < 3;",
            first = have + 1,
        ))
        .await?;
    database.vacuum("plan").await?;
    database.vacuum("approval").await?;
    let deep: Uuid = sqlx::query_scalar("SELECT plan_id FROM plan ORDER BY plan_id OFFSET 100 LIMIT 1")
        .fetch_optional(&pool)
        .await?
        .context("there are plans")?;
    pool.close().await;
    Ok(deep.into())
}

/// Fills a new log up to `rows` events with positions, one of ten thousand of a rare action.
pub async fn events(database: &Database, rows: i64) -> anyhow::Result<()> {
    let pool = database.superuser(1).await?;
    let have: i64 = sqlx::query_scalar("SELECT size FROM audit_head")
        .fetch_one(&pool)
        .await?;
    pool.close().await;
    // A body that reads back: pages show it.
    let body = r#"convert_to('{"action":"' || a || '","actor":{"kind":"system","name":"system:bench","role":"operator"},"at":"2026-01-01T00:00:00.000000Z","decision":"none","details":{"n":' || g || '},"event_id":"event_' || replace(e::text, '-', '') || '","request_id":"bench","tenant_id":"default","v":1}', 'UTF8')"#;
    database
        .fill(&format!(
            "INSERT INTO audit_event (event_id, tenant_id, recorded_at, position, action, actor, decision, body, salt, leaf_hash)
             SELECT e, 'default', to_timestamp(1600000000 + g), g - 1, a, 'system:bench', 'none', {body},
               substr(sha256(g::text::bytea), 1, 16), sha256(g::text::bytea)
             FROM (SELECT g, {ID} AS e, CASE WHEN g % 10000 = 7 THEN 'bench.rare' ELSE 'bench.done' END AS a
                   FROM generate_series({first}, {rows}) g) AS seed;
             UPDATE audit_head SET size = {rows};",
            first = have + 1,
        ))
        .await?;
    database.vacuum("audit_event").await
}
