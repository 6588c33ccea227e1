//! What becomes of a difference between our engine and OPA: recorded by the role that saw it, paged by the orchestrator.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use carapulse::{
    audit::Sequencer,
    domain::{OpCtx, TenantId},
    policy::{Bundle, Engine, Input},
    shadow::{self, Opa},
    store::{Db, DbRole, ObjectStore},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::TestDb;

const PATH: &str = "/v1/data/policy/assistant/v1/result";

fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn fixture() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/policies/fixtures/write_protected.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Speaks OPA's Data API: always the same answer, and a count of the questions.
async fn opa(answer: Value) -> (Opa, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let reply = |State((asked, answer)): State<(Arc<AtomicUsize>, Value)>, Json(body): Json<Value>| async move {
        assert!(body["input"]["action"]["name"].is_string(), "{body}");
        asked.fetch_add(1, Ordering::SeqCst);
        Json(answer)
    };
    let router = Router::new()
        .route(PATH, post(reply))
        .with_state((Arc::clone(&asked), answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Opa::new(&url, Duration::from_secs(5)).unwrap(), asked)
}

/// Has `decisions` decisions compared as the tool-router's role, all of them.
async fn compared(db: &Db, answer: Value, decisions: usize) {
    let input: Input = serde_json::from_value(fixture()["input"].clone()).unwrap();
    let engine = Engine::from_bundle(&Bundle::builtin()).unwrap();
    let (opa, asked) = opa(answer).await;
    let (witness, mut comparator) = shadow::channel(opa, decisions);
    engine.attach(witness);
    for _ in 0..decisions {
        let _decision = engine.decide(&input);
    }
    let stop = CancellationToken::new();
    let until_asked = async {
        while asked.load(Ordering::SeqCst) < decisions {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(comparator.run(db, &stop), until_asked) };
    let within = tokio::time::timeout(Duration::from_secs(60), both).await;
    within.expect("the comparator asked about every decision");
}

fn served(result: &Value) -> Value {
    let revision = Bundle::builtin().digest().to_string();
    json!({ "result": result, "provenance": { "bundles": { "policies": { "revision": revision } } } })
}

/// Details of the recorded differences, oldest first.
async fn recorded(db: &Db) -> Vec<Value> {
    let mut tx = db.begin(&tenant()).await.unwrap();
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT body FROM audit_event WHERE action = $1 ORDER BY event_id")
            .bind(shadow::ACTION)
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let details = |body: &Vec<u8>| serde_json::from_slice::<Value>(body).unwrap()["details"].clone();
    bodies.iter().map(details).collect()
}

#[tokio::test]
async fn a_bundle_that_answers_alike_leaves_no_trace() {
    let db = TestDb::new().await;
    let router = db.as_role(DbRole::Router).await;
    compared(&router, served(&fixture()["expected"]), 3).await;
    assert_eq!(recorded(&router).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_difference_is_recorded_once_a_minute_and_paged_once_an_hour() {
    let db = TestDb::new().await;
    let router = db.as_role(DbRole::Router).await;
    let mut other = fixture()["expected"].clone();
    other["decision"] = json!("allow");
    compared(&router, served(&other), 3).await;
    let events = recorded(&router).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(
        (&events[0]["ours"], &events[0]["theirs"], &events[0]["fields"]),
        (&json!("require_approval"), &json!("allow"), &json!(["decision"]))
    );
    assert!(
        events[0].get("input").is_none(),
        "the question itself is not repeated"
    );

    let worker = db.as_role(DbRole::Orchestrator).await;
    assert_eq!(page(&worker).await, 0, "an event without a position is not read");
    sequence(&db).await;
    assert_eq!((page(&worker).await, page(&worker).await), (1, 0));
    // Another process sees another difference in the same hour.
    compared(&router, served(&json!(true)), 1).await;
    sequence(&db).await;
    assert_eq!(recorded(&router).await.len(), 2);
    page(&worker).await;

    let mut tx = worker.begin(&tenant()).await.unwrap();
    let sent: Vec<(String, String)> =
        sqlx::query_as("SELECT severity, subject FROM notification ORDER BY notification_id")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    // As many as hours were begun: one, but for a test that runs at the full hour.
    let hours: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT date_trunc('hour', recorded_at)) FROM audit_event WHERE action = $1",
    )
    .bind(shadow::ACTION)
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(i64::try_from(sent.len()).unwrap(), hours);
    let subject = "policy: OPA says allow where carapulse says require_approval (plan.check)";
    assert_eq!(sent[0], ("page".to_owned(), subject.to_owned()));
}

#[tokio::test]
async fn another_bundle_is_named_by_its_revision() {
    let db = TestDb::new().await;
    let router = db.as_role(DbRole::Router).await;
    let answer = json!({ "result": fixture()["expected"], "provenance": { "bundles": { "p": { "revision": "dev" } } } });
    compared(&router, answer, 1).await;
    let events = recorded(&router).await;
    assert_eq!(
        (&events[0]["other_bundle"], &events[0]["fields"]),
        (&json!("dev"), &json!([]))
    );
}

async fn page(db: &Db) -> usize {
    let mut tx = db.begin(&tenant()).await.unwrap();
    let sent = shadow::page_recorded(&mut tx, &OpCtx::system("test", tenant()))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    sent
}

async fn sequence(db: &TestDb) {
    let folder = tempfile::tempdir().unwrap();
    let objects = ObjectStore::folder(folder.path()).unwrap();
    let db = db.as_role(DbRole::Sequencer).await;
    let mut sequencer = Sequencer::new(db, SigningKey::from_bytes(&[42; 32]), objects)
        .await
        .unwrap();
    while sequencer.sequence(1).await.unwrap() > 0 {}
}
