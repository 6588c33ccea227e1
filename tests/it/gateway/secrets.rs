//! Secrets that people and strangers put where they do not belong: nothing of them is kept, sent or said.

use carapulse::domain::Role;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use super::world::{World, answer};

/// Real formats, in pieces so that no scanner takes this file for a leak.
const SECRETS: [&str; 6] = [
    concat!("AKIA", "IOSFODNN7EXAMPLE"),
    concat!("ghp_", "0123456789abcdefghijklmnopqrstuvwxyzAB"),
    concat!("glpat-", "abcdefghij0123456789"),
    concat!("xoxb-", "123456789012-abcdefGHIJKL"),
    concat!(
        "eyJhbGciOiJIUzI1NiJ9.",
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0.",
        "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    ),
    "correct-horse-battery",
];

/// A sentence with all of them.
fn sentence() -> String {
    format!(
        "the key {} with {} and {}, {}; Authorization: Bearer {}; password={}",
        SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[3], SECRETS[4], SECRETS[5]
    )
}

/// Every value of every table, as text.
async fn everything(owner: &mut PgConnection) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let columns: Vec<(String, bool)> = sqlx::query_as(
            "SELECT attname::text, atttypid = 'bytea'::regtype FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .bind(&table)
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        for (column, bytes) in columns {
            let text = if bytes {
                format!("encode(\"{column}\", 'escape')")
            } else {
                format!("\"{column}\"::text")
            };
            let sql = format!("SELECT coalesce({text}, '') FROM {table}");
            let values: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut *owner)
                .await
                .unwrap();
            all.extend(
                values
                    .into_iter()
                    .map(|value| (format!("{table}.{column}"), value)),
            );
        }
    }
    all
}

fn holds_none(place: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{place} holds {secret}: {text}");
    }
}

#[tokio::test]
async fn invariant_11_alert_texts_reasons_and_notes_are_kept_sent_and_answered_without_secrets() {
    let world = World::new().await;
    world.target("shop").await;
    let (ada, bob) = (
        world.token("ada", Role::Approver).await,
        world.token("bob", Role::Admin).await,
    );
    let source = world.token("alertmanager", Role::Source).await;
    let text = sentence();
    let mut answers = Vec::new();
    let alert = json!({"version": "4", "groupKey": text, "alerts": [{"status": "firing", "startsAt": "2026-03-01T10:00:00Z",
        "labels": {"alertname": text, "service": format!("checkout {text}"), "token": SECRETS[5]},
        "annotations": {"summary": text, "password": SECRETS[5]}}]});
    answers.push(answer(world.post("/v1/hooks/alertmanager", &source, &alert)).await);
    let plan = json!({"target": "shop", "summary": "more room", "intent": {"kind": "scale", "service": "checkout", "replicas": 5}});
    let (status, made) = answer(world.post("/v1/plans", &ada, &plan)).await;
    assert_eq!(status, 201, "{made}");
    let decide = |word: &str| json!({"plan_id": made["plan_id"], "digest": made["plan"]["digest"], "status": word, "approver_note": text});
    answers.push(answer(world.post("/v1/approvals", &bob, &decide("approved"))).await);
    let execute = format!("/v1/plans/{}:execute", made["plan_id"].as_str().unwrap());
    let (status, started) = answer(world.post(&execute, &ada, &json!({}))).await;
    assert_eq!(status, 201, "{started}");
    let mut owner = world.owner_in_default().await;
    sqlx::query("UPDATE execution SET status = 'running', started_at = db_now()")
        .execute(&mut owner)
        .await
        .unwrap();
    let back = format!(
        "/v1/executions/{}/rollback",
        started["execution_id"].as_str().unwrap()
    );
    answers.push(answer(world.post(&back, &bob, &json!({"note": text}))).await);
    answers.push(answer(world.post("/v1/freeze", &bob, &json!({"frozen": true, "reason": text}))).await);
    assert!(
        answers.iter().all(|(status, _)| (200..300).contains(status)),
        "{answers:?}"
    );
    // What is refused is not quoted with its secrets, either.
    let wrong = json!({"frozen": text, "reason": "x"});
    answers.push(answer(world.post("/v1/freeze", &bob, &wrong)).await);
    answers.push(answer(world.get(&format!("/v1/executions?status={}", SECRETS[1]), &bob)).await);
    for path in [
        "/v1/freeze",
        "/v1/approvals",
        "/v1/audit/events",
        "/v1/incidents",
        "/v1/notifications",
    ] {
        answers.push(answer(world.get(path, &bob)).await);
    }
    for (status, body) in &answers {
        holds_none(&format!("an answer ({status})"), &body.to_string());
    }
    let all = everything(&mut owner).await;
    for (place, value) in &all {
        holds_none(place, value);
    }
    let kept = |place: &str| {
        let found: Vec<&str> = all
            .iter()
            .filter(|(at, _)| at == place)
            .map(|(_, value)| value.as_str())
            .collect();
        assert!(
            found.iter().any(|value| value.contains("***")),
            "{place}: {found:?}"
        );
    };
    for place in [
        "approval.note",
        "execution_request.note",
        "installation.frozen_reason",
        "incident.title",
        "signal.body",
        "delivery.body",
        "notification.body",
        "audit_event.body",
    ] {
        kept(place);
    }
    let body: Value = made;
    assert!(body["plan_id"].is_string());
}
