//! Invariant 2, end to end: whatever of an approved plan is changed by SQL between the approval and the act, the real
//! engine and the real tool-router refuse, nothing is ever pushed, and the audit log says why.

use std::{collections::BTreeMap, time::Duration};

use carapulse::{
    config::signing_key,
    domain::{
        ApprovalId, Digest, ExecutionId, PlanId, canonical,
        plan::{PlanDoc, digest_of},
    },
    warrant::statement::{Signed, Statement, key_id},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use crate::world::{World, load, process::Process};

/// What was approved, and what an attacker at the database makes of it.
struct Victim {
    name: String,
    execution: ExecutionId,
    /// The code that the audit log must give, when it matters which.
    code: Option<&'static str>,
}

#[tokio::test]
async fn invariant_2_no_covered_byte_can_change_between_approval_and_act() {
    let (world, _roles) = without_orchestrator().await;
    let mut victims = Vec::new();
    for (pointer, forged) in values(&world).await {
        let it = Approved::new(&world).await;
        victims.push(it.change_document(&world, &pointer, forged).await);
    }
    for (name, sql, code) in rows() {
        let it = Approved::new(&world).await;
        it.sql(&world, sql).await;
        victims.push(it.victim(name, Some(code)));
    }
    victims.push(another_approval(&world).await);
    victims.push(another_action(&world).await);
    for known_key in [false, true] {
        victims.push(forged(&world, known_key).await);
    }
    let mut orchestrator = world.start("orchestrator", None).await;
    orchestrator.ready(&world.http).await;
    check(&world, &victims).await;
}

/// A world in which plans are made and approved, and nothing acts until an orchestrator is started.
async fn without_orchestrator() -> (World, [Process; 2]) {
    let world = World::new().await;
    let mut roles = [
        world.start("gateway", None).await,
        world.start("tool-router", None).await,
    ];
    for role in &mut roles {
        role.ready(&world.http).await;
    }
    world.register().await;
    (world, roles)
}

/// Of another generation than the installation's, whichever of the two was changed: what happened since the backup nobody here
/// knows. It is held before any act, and keeps its target until a person says what became of it.
#[tokio::test]
async fn invariant_2_an_execution_of_another_generation_is_held_before_any_act() {
    for forged in [
        "UPDATE execution SET generation = generation + 1 WHERE execution_id = '{execution}'",
        "UPDATE installation SET generation = generation + 1",
    ] {
        let (world, _roles) = without_orchestrator().await;
        let it = Approved::new(&world).await;
        it.sql(&world, forged).await;
        let mut orchestrator = world.start("orchestrator", None).await;
        orchestrator.ready(&world.http).await;
        let status = world
            .until_ended(&it.execution.to_string(), Duration::from_secs(60))
            .await;
        assert_eq!(status, "needs_attention", "{forged}");
        let mut owner = world.db.owner().await;
        let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM attempt WHERE execution_id = $1")
            .bind(it.execution.uuid())
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(attempts, 0, "{forged}: something was claimed");
        let told: Vec<u8> = sqlx::query_scalar(
            "SELECT body FROM audit_event WHERE execution_id = $1 AND action = 'execution.needs_attention'",
        )
        .bind(it.execution.uuid())
        .fetch_one(&mut owner)
        .await
        .unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["details"]["reason"], "restored", "{forged}");
        assert_eq!(world.story.added(), 0, "{forged}: something was pushed");
    }
}

/// Statements on the rows beside the plan's bytes; `{execution}`, `{plan}` and `{approval}` are filled in.
fn rows() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        (
            "plan.digest",
            "UPDATE plan SET digest = sha256('x') WHERE plan_id = '{plan}'",
            "digest_mismatch",
        ),
        (
            "approval.digest",
            "UPDATE approval SET digest = sha256('x') WHERE approval_id = '{approval}'",
            "digest_mismatch",
        ),
        (
            "approval.tier",
            "UPDATE approval SET tier = CASE tier WHEN 'elevated' THEN 'standard' ELSE 'elevated' END WHERE approval_id = '{approval}'",
            "statement_mismatch",
        ),
        (
            "approval.expires_at",
            "UPDATE approval SET expires_at = expires_at + interval '1 day' WHERE approval_id = '{approval}'",
            "statement_mismatch",
        ),
        (
            "approval.status",
            "UPDATE approval SET status = 'revoked' WHERE approval_id = '{approval}'",
            "approval_status",
        ),
        (
            "approval_grant.statement",
            "UPDATE approval_grant SET statement = set_byte(statement, 20, get_byte(statement, 20) # 1) WHERE approval_id = '{approval}'",
            "approval_signature",
        ),
        (
            "approval_grant.signature",
            "UPDATE approval_grant SET signature = set_byte(signature, 5, get_byte(signature, 5) # 1) WHERE approval_id = '{approval}'",
            "approval_signature",
        ),
        (
            "approval_grant.key_id",
            "UPDATE approval_grant SET key_id = '0000000000000000' WHERE approval_id = '{approval}'",
            "approval_signature",
        ),
        (
            "approval_grant gone",
            "DELETE FROM approval_grant WHERE approval_id = '{approval}'",
            "approval_missing",
        ),
        (
            "execution.approval_id gone",
            "UPDATE execution SET approval_id = NULL WHERE execution_id = '{execution}'",
            "approval_missing",
        ),
    ]
}

/// What to change in a plan's document: below each of its keys, and below each key of its step, as it is or with every stored
/// digest made to fit.
async fn values(world: &World) -> Vec<(String, bool)> {
    let it = Approved::new(world).await;
    it.sql(
        world,
        "UPDATE approval SET status = 'revoked' WHERE approval_id = '{approval}'",
    )
    .await;
    let doc: Value = serde_json::from_slice(&it.doc).unwrap();
    let keys = |pointer: &str| {
        let object = doc.pointer(pointer).unwrap().as_object().unwrap();
        let pointers = object.keys().map(|key| format!("{pointer}/{key}"));
        // Something empty has no value to change.
        let filled = pointers.filter(|at| change_first(&mut doc.pointer(at).unwrap().clone()));
        filled.collect::<Vec<_>>()
    };
    let (whole, step) = (keys(""), keys("/steps/0"));
    assert!(whole.len() > 10 && step.len() > 8, "{whole:?} {step:?}");
    let plain = whole.clone().into_iter().map(|at| (at, false));
    plain
        .chain(whole.into_iter().chain(step).map(|at| (at, true)))
        .collect()
}

/// A plan that was approved and whose execution waits for an engine.
struct Approved {
    plan: PlanId,
    approval: ApprovalId,
    execution: ExecutionId,
    doc: Vec<u8>,
}

impl Approved {
    async fn new(world: &World) -> Self {
        let plan: PlanId = world.approved_plan(true).await.parse().unwrap();
        let execution: ExecutionId = world.execute(&plan.to_string()).await.unwrap().parse().unwrap();
        let row = sqlx::query(
            "SELECT approval_id, doc FROM execution JOIN plan USING (plan_id) WHERE execution_id = $1",
        )
        .bind(execution.uuid())
        .fetch_one(&mut world.db.owner().await)
        .await
        .unwrap();
        Self {
            plan,
            approval: row.get::<Uuid, _>(0).into(),
            execution,
            doc: row.get(1),
        }
    }

    fn victim(&self, name: impl Into<String>, code: Option<&'static str>) -> Victim {
        Victim {
            name: name.into(),
            execution: self.execution,
            code,
        }
    }

    async fn sql(&self, world: &World, template: &str) {
        let sql = template
            .replace("{plan}", &self.plan.uuid().to_string())
            .replace("{approval}", &self.approval.uuid().to_string())
            .replace("{execution}", &self.execution.uuid().to_string());
        run(&mut world.db.owner().await, sql).await;
    }

    /// Changes the first value at or below `pointer`; with `forged`, every stored digest is made to fit.
    async fn change_document(&self, world: &World, pointer: &str, forged: bool) -> Victim {
        let mut doc: Value = serde_json::from_slice(&self.doc).unwrap();
        assert!(change_first(doc.pointer_mut(pointer).unwrap()), "{pointer}");
        let bytes = canonical::value_to_bytes(&doc).unwrap();
        assert_ne!(bytes, self.doc, "{pointer}");
        self.store(world, &bytes, forged).await;
        self.victim(format!("plan.doc {pointer}, digests forged: {forged}"), None)
    }

    async fn store(&self, world: &World, doc: &[u8], forged: bool) -> Digest {
        let (digest, doc_hex) = (digest_of(doc), hex::encode(doc));
        self.sql(
            world,
            &format!("UPDATE plan SET doc = '\\x{doc_hex}' WHERE plan_id = '{{plan}}'"),
        )
        .await;
        if forged {
            let hex = digest.hex();
            self.sql(
                world,
                &format!(
                    "UPDATE plan SET digest = '\\x{hex}' WHERE plan_id = '{{plan}}';
                     UPDATE approval SET digest = '\\x{hex}' WHERE approval_id = '{{approval}}'"
                ),
            )
            .await;
        }
        digest
    }

    /// What was signed, with `change`, signed anew.
    async fn signed(&self, world: &World, key: &SigningKey, change: impl FnOnce(&mut Statement)) -> Signed {
        let bytes: Vec<u8> =
            sqlx::query_scalar("SELECT statement FROM approval_grant WHERE approval_id = $1")
                .bind(self.approval.uuid())
                .fetch_one(&mut world.db.owner().await)
                .await
                .unwrap();
        let mut statement: Statement = canonical::from_bytes(&bytes).unwrap();
        change(&mut statement);
        statement.sign(key).unwrap()
    }
}

/// The grant of another plan, which that plan's execution does not need any more.
async fn another_approval(world: &World) -> Victim {
    let (it, other) = (Approved::new(world).await, Approved::new(world).await);
    let others = other.approval.uuid();
    other
        .sql(
            world,
            "UPDATE execution SET approval_id = NULL WHERE execution_id = '{execution}'",
        )
        .await;
    let take = format!("UPDATE execution SET approval_id = '{others}' WHERE execution_id = '{{execution}}'");
    it.sql(world, &take).await;
    it.victim("execution.approval_id of another plan", None)
}

/// Approved and signed in earnest, but for a definition of the action that is no longer this one.
async fn another_action(world: &World) -> Victim {
    let it = Approved::new(world).await;
    let mut doc: PlanDoc = PlanDoc::open(&it.doc).unwrap();
    doc.steps[0].action_digest = Digest::of_content(b"an older definition");
    let (bytes, digest) = doc.seal().unwrap();
    assert_eq!(it.store(world, &bytes, true).await, digest);
    let key = signing_key(&load(&world.config).secrets().reference("approval_key")).unwrap();
    let signed = it
        .signed(world, &key, |statement| statement.plan_digest = digest)
        .await;
    let sql = format!(
        "UPDATE approval_grant SET statement = '\\x{}', signature = '\\x{}' WHERE approval_id = '{{approval}}'",
        hex::encode(&signed.statement),
        hex::encode(signed.signature)
    );
    it.sql(world, &sql).await;
    it.victim("the action's definition changed", Some("action_digest"))
}

/// A whole plan with approval, grant, execution and job, every digest right, signed by a key that is not the gateway's.
async fn forged(world: &World, known_key: bool) -> Victim {
    let it = Approved::new(world).await;
    let (plan, approval, execution) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let mut doc: PlanDoc = PlanDoc::open(&it.doc).unwrap();
    doc.plan_id = plan.into();
    let (bytes, digest) = doc.seal().unwrap();
    let key = SigningKey::from_bytes(&[66; 32]);
    let signed = it
        .signed(world, &key, |statement| {
            statement.plan_id = plan.into();
            statement.approval_id = approval.into();
            statement.plan_digest = digest;
        })
        .await;
    let ours = signing_key(&load(&world.config).secrets().reference("approval_key")).unwrap();
    let named = if known_key {
        key_id(&ours.verifying_key())
    } else {
        signed.key_id.clone()
    };
    let (doc, digest) = (hex::encode(bytes), digest.hex());
    let (statement, signature) = (hex::encode(&signed.statement), hex::encode(signed.signature));
    let sql = format!(
        "CREATE TEMP TABLE p AS SELECT * FROM plan WHERE plan_id = '{{plan}}';
         UPDATE p SET plan_id = '{plan}', doc = '\\x{doc}', digest = '\\x{digest}'; INSERT INTO plan TABLE p;
         CREATE TEMP TABLE a AS SELECT * FROM approval WHERE approval_id = '{{approval}}';
         UPDATE a SET approval_id = '{approval}', plan_id = '{plan}', digest = '\\x{digest}'; INSERT INTO approval TABLE a;
         CREATE TEMP TABLE g AS SELECT * FROM approval_grant WHERE approval_id = '{{approval}}';
         UPDATE g SET approval_id = '{approval}', statement = '\\x{statement}', signature = '\\x{signature}', key_id = '{named}';
         INSERT INTO approval_grant TABLE g;
         CREATE TEMP TABLE e AS SELECT * FROM execution WHERE execution_id = '{{execution}}';
         UPDATE e SET execution_id = '{execution}', plan_id = '{plan}', approval_id = '{approval}';
         INSERT INTO execution TABLE e;
         INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
           VALUES (gen_random_uuid(), 'execution', 'default', '{execution}', db_now());
         UPDATE approval SET status = 'revoked' WHERE approval_id = '{{approval}}'"
    );
    it.sql(world, &sql).await;
    Victim {
        name: format!("all rows forged, the gateway's key id claimed: {known_key}"),
        execution: execution.into(),
        code: Some("approval_signature"),
    }
}

/// Every execution came to its end without an act; the repository is as it was; the audit log says why.
async fn check(world: &World, victims: &[Victim]) {
    let mut told = BTreeMap::new();
    for victim in victims {
        let (name, id) = (&victim.name, victim.execution);
        let status = world.until_ended(&id.to_string(), Duration::from_secs(60)).await;
        assert!(
            ["failed", "needs_attention", "rolled_back"].contains(&status.as_str()),
            "{name}: {status}"
        );
        let mut owner = world.db.owner().await;
        let attempts: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM attempt WHERE execution_id = $1 AND status <> 'refused'",
        )
        .bind(id.uuid())
        .fetch_one(&mut owner)
        .await
        .unwrap();
        assert_eq!(attempts, 0, "{name}: something was claimed");
        let codes = refusals(&mut owner, id).await;
        assert!(!codes.is_empty(), "{name}: the audit log does not say why");
        if let Some(code) = victim.code {
            assert!(codes.iter().any(|found| found == code), "{name}: {codes:?}");
        }
        told.insert(name, format!("{status}, {}", codes.join(", ")));
    }
    for (name, outcome) in told {
        println!("{name:<64} {outcome}");
    }
    assert_eq!(world.story.added(), 0, "something was pushed");
}

/// Codes of the refusals of this execution.
async fn refusals(owner: &mut PgConnection, execution: ExecutionId) -> Vec<String> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT body FROM audit_event WHERE execution_id = $1 AND decision = 'deny'
           AND action IN ('tool.refused', 'execution.refused') ORDER BY recorded_at",
    )
    .bind(execution.uuid())
    .fetch_all(owner)
    .await
    .unwrap();
    let code = |body: &Vec<u8>| {
        let body: Value = serde_json::from_slice(body).unwrap();
        body["details"]["code"].as_str().unwrap().to_owned()
    };
    rows.iter().map(code).collect()
}

async fn run(owner: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(owner).await.unwrap();
}

/// Changes the first text, number or flag that is found, depth first.
fn change_first(value: &mut Value) -> bool {
    match value {
        Value::String(text) => text.push('x'),
        Value::Number(number) => *value = json!(number.as_i64().unwrap() + 1),
        Value::Bool(flag) => *flag = !*flag,
        Value::Array(items) if items.is_empty() => items.push(json!("x")),
        Value::Array(items) => return items.iter_mut().any(change_first),
        Value::Object(map) => return map.values_mut().any(change_first),
        Value::Null => return false,
    }
    true
}
