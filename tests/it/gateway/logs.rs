//! The live stream: through every layer, to its end, and from where it broke off.

use std::time::Duration;

use carapulse::domain::{Role, canonical, run::JournalEvent};
use serde_json::json;
use sqlx::PgConnection;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::world::{World, problem};

/// An execution as rows, in the tenant `default`.
async fn execution(owner: &mut PgConnection) -> Uuid {
    let (plan, execution) = (Uuid::from_u128(11), Uuid::from_u128(12));
    for sql in [
        "SELECT set_config('carapulse.tenant', 'default', false)".to_owned(),
        format!(
            "INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, risk_level, created_at, updated_at)
             VALUES ('{plan}', 'default', 'executed', 1, '', decode(repeat('00', 32), 'hex'), 'manual', 's', 'low', now(), now())"
        ),
        format!(
            "INSERT INTO execution (execution_id, tenant_id, plan_id, status, generation, state, requested_by, created_at)
             VALUES ('{execution}', 'default', '{plan}', 'running', 1, '', 'ada', now())"
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *owner).await.unwrap();
    }
    execution
}

async fn journal(owner: &mut PgConnection, execution: Uuid, seq: i64, event: &JournalEvent) {
    sqlx::query("INSERT INTO journal (execution_id, seq, tenant_id, epoch, event, recorded_at) VALUES ($1, $2, 'default', 1, $3, now())")
        .bind(execution)
        .bind(seq)
        .bind(canonical::to_bytes(event).unwrap())
        .execute(owner)
        .await
        .unwrap();
}

async fn chunk(owner: &mut PgConnection, execution: Uuid, text: &str) {
    sqlx::query(
        "INSERT INTO log_chunk (execution_id, tenant_id, chunk_id, step, direction, attempt, stream, level, inline, size_bytes)
         VALUES ($1, 'default', gen_random_uuid(), 0, 'forward', 1, 'stdout', 'info', $2, length($2))",
    )
    .bind(execution)
    .bind(text.as_bytes())
    .execute(owner)
    .await
    .unwrap();
}

/// Reads a stream until it has `wanted` in it, or ends.
async fn read_until(response: reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    let mut body = response.bytes_stream();
    let reading = async {
        while let Some(piece) = body.next().await {
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            if text.contains(wanted) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the stream goes on");
    assert!(text.contains(wanted), "{text}");
    text
}

#[tokio::test]
async fn a_stream_follows_resumes_without_repeating_and_ends_with_the_execution() {
    let world = World::new().await;
    let ada = world.token("ada", Role::Viewer).await;
    let mut owner = world.db.owner().await;
    let id = execution(&mut owner).await;
    let path = format!("/v1/executions/exec_{}/logs", id.simple());
    journal(&mut owner, id, 0, &JournalEvent::Started).await;
    chunk(&mut owner, id, "one\ntwo\n").await;

    let response = world.get(&path, &ada).send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let first = read_until(response, "\"message\":\"two\"").await;
    assert!(first.starts_with(":ok\n\nevent: step\nid: "), "{first}");
    let last_id = first
        .lines()
        .rfind(|line| line.starts_with("id: "))
        .unwrap()
        .trim_start_matches("id: ")
        .to_owned();

    chunk(&mut owner, id, "three\n").await;
    let response = world
        .get(&path, &ada)
        .header("Last-Event-ID", &last_id)
        .send()
        .await
        .unwrap();
    let ending = async {
        journal(&mut owner, id, 1, &JournalEvent::DeadlinePassed).await;
        sqlx::query("UPDATE execution SET status = 'failed', completed_at = now()")
            .execute(&mut owner)
            .await
            .unwrap();
    };
    let (rest, ()) = tokio::join!(read_until(response, "event: end"), ending);
    assert!(
        !rest.contains("\"one\"") && !rest.contains("\"two\"") && !rest.contains("started"),
        "{rest}"
    );
    assert!(
        rest.contains("three") && rest.contains("the plan's time is over"),
        "{rest}"
    );
    assert!(rest.contains(r#""status":"failed""#), "{rest}");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let world = World::new().await;
    let mut owner = world.db.owner().await;
    let id = execution(&mut owner).await;
    let path = format!("/v1/executions/exec_{}/logs", id.simple());
    journal(&mut owner, id, 0, &JournalEvent::Started).await;
    for (seq, end) in [(1, "revoked_at = db_now()"), (2, "expires_at = db_now()")] {
        let token = world.token(&format!("ada{seq}"), Role::Viewer).await;
        let response = world.get(&path, &token).send().await.unwrap();
        let sql = format!("UPDATE token SET {end}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut owner)
            .await
            .unwrap();
        journal(&mut owner, id, seq, &JournalEvent::DeadlinePassed).await;
        let text = read_until(response, "event: bye").await;
        assert!(
            text.contains(&json!({"reason": "unauthenticated"}).to_string()),
            "{text}"
        );
        assert!(
            !text.contains("time is over"),
            "written after the token's end: {text}"
        );
        owner_forgets(&mut owner, seq).await;
    }
}

/// So that the next stream begins anew.
async fn owner_forgets(owner: &mut PgConnection, seq: i64) {
    sqlx::query("DELETE FROM journal WHERE seq = $1")
        .bind(seq)
        .execute(owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_says_good_bye_when_the_gateway_stops_and_refuses_foreign_positions() {
    let world = World::new().await;
    let ada = world.token("ada", Role::Viewer).await;
    let mut owner = world.db.owner().await;
    let id = execution(&mut owner).await;
    let path = format!("/v1/executions/exec_{}/logs", id.simple());
    let bad = world
        .get(&path, &ada)
        .header("Last-Event-ID", "7")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(bad).await, (400, "invalid_request".to_owned()));
    let none = world
        .get("/v1/executions/exec_00000000000000000000000000000099/logs", &ada)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(none).await.1, "not_found");
    let eve = world.token_in("other", "eve", Role::Admin).await;
    assert_eq!(
        problem(world.get(&path, &eve).send().await.unwrap()).await.1,
        "not_found"
    );
    let response = world.get(&path, &ada).send().await.unwrap();
    world.stop.cancel();
    let text = read_until(response, "event: bye").await;
    assert!(
        text.contains(&json!({"reason": "stopping"}).to_string()),
        "{text}"
    );
}
