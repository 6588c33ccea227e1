//! What a request reads: with 20 000 rows in every table, each list and each look-up touches about as many rows as it shows.
//!
//! Not the plan of a copy of the statement is looked at, but what the server counted while the real handler ran: rows that a
//! filter threw away, a sort of everything or a scan of the table all show as rows read. Once with custom and once with generic plans
//! (a prepared statement ends up with either), as a tenant that has nearly all rows and as one that has few.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeMap, sync::Arc};

use carapulse::{
    domain::{OpCtx, Role, Target, WriteGate, plan::Args},
    gateway::{self, Gateway, Parts, cursor::CursorKey},
    intake,
    plan::PriorReader,
    policy::{Bundle, Engine},
    store::{Db, DbRole, ObjectStore},
    tools::catalog::Catalog,
    warrant::statement::ApprovalKeys,
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::gateway::world::{World, answer};

/// Each request, and how many rows it may read: those that it shows, their joins, and a few to know who asks.
const REQUESTS: &[(&str, i64)] = &[
    ("/v1/plans?limit=50", 60),
    ("/v1/plans?limit=50&status=superseded", 60),
    ("/v1/plans?limit=50&target=seldom", 60),
    ("/v1/plans?limit=50&incident_id={incident}", 60),
    ("/v1/plans/{plan}", 10),
    ("/v1/plans/{plan}/diff", 10),
    ("/v1/approvals?limit=50", 110),
    ("/v1/approvals?limit=50&status=revoked", 110),
    ("/v1/executions?limit=50", 60),
    ("/v1/executions?limit=50&status=failed", 60),
    ("/v1/executions?limit=50&plan_id={plan}", 60),
    ("/v1/executions/{execution}", 10),
    ("/v1/executions/{execution}/steps", 10),
    ("/v1/incidents?limit=50", 60),
    ("/v1/incidents?limit=50&status=open", 60),
    ("/v1/incidents/{incident}", 20),
    ("/v1/notifications?limit=50", 60),
    ("/v1/notifications?limit=50&status=failed", 60),
    ("/v1/audit/events?limit=50", 60),
    ("/v1/audit/events?limit=50&action=seldom.done", 60),
    ("/v1/audit/events?limit=50&actor_id=seldom", 60),
    ("/v1/audit/events?limit=50&decision=deny", 60),
    ("/v1/audit/events?limit=50&plan_id={plan}", 60),
    ("/v1/audit/events?limit=50&execution_id={execution}", 60),
];

/// Tables that grow; the others have a row, or one for each person or place.
const GROWING: &str = "^(plan|plan_step|approval|execution|journal|attempt|evidence|incident|signal|diagnosis|notification|job|\
     audit_event.*|policy_decision.*|log_chunk.*)$";
const ROWS: i64 = 20_000;

#[tokio::test]
async fn invariant_lists_and_look_ups_read_no_more_rows_than_they_show() {
    let seeded = Seeded::new().await;
    let mut wrong = Vec::new();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        for (tenant, token) in &seeded.tokens {
            let counted = Counted::start(&seeded.world, mode).await;
            for (path, most) in REQUESTS {
                let path = seeded.fill_in(tenant, path);
                let read = counted.rows_read(&path, token).await;
                let total: i64 = read.values().sum();
                if total > *most {
                    wrong.push(format!(
                        "{path} as {tenant}, {mode}: {total} rows, at most {most}: {read:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "too many rows are read:\n{}", wrong.join("\n"));
}

/// A database in which tenant `default` has many rows of everything and tenant `small` a few among them.
struct Seeded {
    world: World,
    tokens: BTreeMap<&'static str, String>,
    plan: String,
    execution: String,
    incident: String,
}

impl Seeded {
    async fn new() -> Self {
        let world = World::new().await;
        let target = world.target("shop").await;
        let tokens = BTreeMap::from([
            ("default", world.token("ada", Role::Operator).await),
            ("small", world.token_in("small", "sam", Role::Operator).await),
        ]);
        let (plan, execution) = real_ones(&world, &tokens["default"]).await;
        let mut owner = world.db.owner().await;
        // Evidence is exported of what is over.
        sqlx::query(
            "UPDATE execution SET status = 'succeeded', started_at = created_at, completed_at = created_at",
        )
        .execute(&mut owner)
        .await
        .unwrap();
        let mut incident = String::new();
        for (tenant, rows) in [("small", 40), ("default", ROWS)] {
            incident = seed(&mut owner, tenant, rows, &target).await;
        }
        sqlx::raw_sql("ANALYZE").execute(&mut owner).await.unwrap();
        Self {
            world,
            tokens,
            plan,
            execution,
            incident,
        }
    }

    /// The ids are of tenant `default`; the other tenant asks for what it has not.
    fn fill_in(&self, tenant: &str, path: &str) -> String {
        let path = path
            .replace("{plan}", &self.plan)
            .replace("{execution}", &self.execution)
            .replace("{incident}", &self.incident);
        assert!(!path.contains('{'), "{tenant}: {path}");
        path
    }
}

/// A plan and an execution whose bytes are real: look-ups read them back.
async fn real_ones(world: &World, token: &str) -> (String, String) {
    let steps = json!([{"tool": "prometheus", "action": "query", "args": {"query": "up"}}]);
    let body = json!({"target": "shop", "summary": "look", "steps": steps});
    let (status, made) = answer(world.post("/v1/plans", token, &body)).await;
    assert_eq!(status, 201, "{made}");
    let plan = made["plan_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/plans/{plan}:execute");
    let (status, started) = answer(world.post(&path, token, &json!({}))).await;
    assert_eq!(status, 201, "{started}");
    (plan, started["execution_id"].as_str().unwrap().to_owned())
}

/// Fills every growing table of `tenant`. Answers an incident of it.
async fn seed(owner: &mut PgConnection, tenant: &'static str, rows: i64, target: &Target) -> String {
    let state: Vec<u8> = sqlx::query_scalar("SELECT state FROM execution LIMIT 1")
        .fetch_optional(&mut *owner)
        .await
        .unwrap()
        .unwrap_or_else(|| br#"{}"#.to_vec());
    let state = hex::encode(state);
    let place = target.target_id.uuid();
    // Spread over the same range of ids, so that an index without the tenant would read across both.
    let id = format!(
        "(lpad(to_hex(1600000000000 + g * {}), 12, '0') || '7' || substr(md5('{tenant}' || g), 1, 3) || '8' || substr(md5('{tenant}' || g), 4, 15))::uuid",
        ROWS / rows
    );
    let at = "to_timestamp(1600000000 + g)";
    let series = format!("generate_series(1, {rows}) g");
    let target_id = if tenant == "default" {
        format!("'{place}'")
    } else {
        "NULL".to_owned()
    };
    let sql = format!(
        "SELECT set_config('carapulse.tenant', '{tenant}', false);
         INSERT INTO incident (incident_id, tenant_id, group_key, title, target_id, status, stage, opened_at, resolved_at)
           SELECT {id}, '{tenant}', 'g' || g, 'checkout', {target_id}, CASE WHEN g % 5000 = 7 THEN 'open' ELSE 'resolved' END, 'done', {at}, {at} FROM {series};
         INSERT INTO signal (signal_id, tenant_id, source, fingerprint, status, starts_at, incident_id, first_seen_at, last_seen_at, body)
           SELECT {id}, '{tenant}', 'alertmanager', 'f' || g, 'resolved', {at}, {id}, {at}, {at}, '{{}}' FROM {series};
         INSERT INTO diagnosis (diagnosis_id, tenant_id, incident_id, verdict, body, made_at)
           SELECT {id}, '{tenant}', {id}, 'unknown', '{{}}', {at} FROM {series};
         INSERT INTO notification (notification_id, tenant_id, kind, severity, subject, body, dedupe_key, status, created_at)
           SELECT {id}, '{tenant}', 'finished', 'info', 'x', '{{}}', 'k' || g, CASE WHEN g % 5000 = 7 THEN 'failed' ELSE 'delivered' END, {at} FROM {series};
         INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, risk_level, target_name, incident_id, created_at, updated_at)
           SELECT {id}, '{tenant}', CASE WHEN g % 5000 = 7 THEN 'superseded' ELSE 'executed' END, 1, 'x', sha256(g::text::bytea), 'alert', 'x', 'medium',
             CASE WHEN g % 5000 = 7 THEN 'seldom' ELSE 'shop' END, {id}, {at}, {at} FROM {series};
         INSERT INTO approval (approval_id, tenant_id, plan_id, digest, tier, status, requested_at, expires_at)
           SELECT {id}, '{tenant}', {id}, sha256(g::text::bytea), 'standard', CASE WHEN g % 5000 = 7 THEN 'revoked' ELSE 'consumed' END, {at}, {at} FROM {series};
         INSERT INTO execution (execution_id, tenant_id, plan_id, status, generation, state, requested_by, created_at, started_at, completed_at)
           SELECT {id}, '{tenant}', {id}, CASE WHEN g % 5000 = 7 THEN 'failed' ELSE 'succeeded' END, 1, decode('{state}', 'hex'), 'x', {at}, {at}, {at} FROM {series};
         INSERT INTO audit_event (event_id, tenant_id, recorded_at, position, action, actor, decision, plan_id, execution_id, body, salt, leaf_hash)
           SELECT {id}, '{tenant}', {at}, {first} + g, CASE WHEN g % 5000 = 7 THEN 'seldom.done' ELSE 'often.done' END,
             CASE WHEN g % 5000 = 7 THEN 'seldom' ELSE 'often' END, CASE WHEN g % 5000 = 7 THEN 'deny' ELSE 'none' END, {id}, {id},
             convert_to('{{\"action\":\"often.done\",\"actor\":{{\"kind\":\"system\",\"name\":\"often\",\"role\":\"operator\"}},\"at\":\"x\",\"decision\":\"none\",\"details\":{{}},\"event_id\":\"event_' || replace({id}::text, '-', '') || '\",\"request_id\":\"r\",\"tenant_id\":\"{tenant}\",\"v\":1}}', 'UTF8'),
             substr(sha256(g::text::bytea), 1, 16), sha256(g::text::bytea) FROM {series};",
        first = if tenant == "default" { 1_000 } else { 100_000 },
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *owner)
        .await
        .unwrap();
    let incident: uuid::Uuid = sqlx::query_scalar(
        "SELECT incident_id FROM incident WHERE tenant_id = $1 ORDER BY incident_id OFFSET 3 LIMIT 1",
    )
    .bind(tenant)
    .fetch_one(owner)
    .await
    .unwrap();
    carapulse::domain::IncidentId::from(incident).to_string()
}

struct NoReads;

#[async_trait::async_trait]
impl PriorReader for NoReads {
    async fn read(
        &self,
        _: carapulse::domain::TargetId,
        _: &str,
        _: &str,
        _: &Args,
    ) -> Result<Value, String> {
        Err("nothing is read here".to_owned())
    }
}

/// A gateway on one connection, so that what the server counts can be told apart.
struct Counted {
    url: String,
    http: reqwest::Client,
    pool: Db,
    owner: tokio::sync::Mutex<PgConnection>,
    _folder: tempfile::TempDir,
}

impl Counted {
    async fn start(world: &World, plan_cache_mode: &str) -> Self {
        let mut owner = world.db.owner().await;
        let alter = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET plan_cache_mode = {plan_cache_mode}', current_database()); END $$"
        );
        sqlx::raw_sql(AssertSqlSafe(alter))
            .execute(&mut owner)
            .await
            .unwrap();
        let pool = Db::connect(&world.db.url(DbRole::Gateway), DbRole::Gateway, 1)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let signing_key = SigningKey::from_bytes(&[5; 32]);
        let gateway = Gateway::new(Parts {
            db: pool.clone(),
            objects: ObjectStore::folder(folder.path()).unwrap(),
            intake: intake::channel(pool.clone()).0,
            catalog: Arc::new(Catalog::builtin()),
            engine: Arc::new(Engine::from_bundle(&Bundle::builtin()).unwrap()),
            reads: Arc::new(|_: &OpCtx| Box::new(NoReads)),
            approval_keys: ApprovalKeys::new([signing_key.verifying_key()]).into(),
            signing_key: signing_key.into(),
            streams: Default::default(),
            gate: WriteGate::default(),
            cursors: CursorKey::derive(b"test"),
            stop: CancellationToken::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = async move { axum::serve(listener, gateway::service(gateway)).await.unwrap() };
        tokio::spawn(serving);
        Self {
            url,
            http: reqwest::Client::builder().build().unwrap(),
            pool,
            owner: tokio::sync::Mutex::new(owner),
            _folder: folder,
        }
    }

    /// What one request reads, by table. The first request of a kind also reads the catalogue, which is not counted.
    async fn rows_read(&self, path: &str, token: &str) -> BTreeMap<String, i64> {
        let before = self.counters().await;
        let response = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        assert!(
            status == 200 || status == 404,
            "{path}: {status}: {}",
            response.text().await.unwrap()
        );
        let after = self.counters().await;
        let grown = after.into_iter().map(|(table, rows)| {
            let more = rows - before.get(&table).copied().unwrap_or_default();
            (table, more)
        });
        grown.filter(|(_, rows)| *rows > 0).collect()
    }

    async fn counters(&self) -> BTreeMap<String, i64> {
        // The only connection of the pool says what it did when its transaction ends.
        let mut tx = self.pool.begin(&"default".parse().unwrap()).await.unwrap();
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut owner = self.owner.lock().await;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT relname::text, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname ~ $1",
        )
        .bind(GROWING)
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        rows.into_iter().collect()
    }
}
