//! An incident, from the alert to the request for approval or to the page, with the orchestrator killed at every stage.

use std::time::{Duration, SystemTime};

use axum::{Form, Json, Router, routing::post};
use carapulse::{domain::Role, gateway::identity::Holder, store::crash::POINTS};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use super::{Case, Cast, WITHIN};
use crate::world::{World, story::BROKEN_FOR, token};

/// A dead investigator's lease lasts 120 s.
const LEASE_IS_OVER: Duration = Duration::from_secs(121);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_7_an_investigation_killed_at_any_stage_is_taken_up_and_tells_people_once() {
    let only = std::env::var("CRASH_ONLY").unwrap_or_default();
    for place in POINTS
        .iter()
        .filter(|place| place.starts_with("investigation.") && place.contains(&only))
    {
        // Measured, it proposes; blind, it escalates.
        let measured = !place.ends_with("_end");
        let told = play(place, measured).await;
        println!("{place:<52} {told}");
    }
}

async fn play(place: &str, measured: bool) -> String {
    let case = Case {
        name: place.to_owned(),
        helps: true,
        deaths: vec![("orchestrator", vec![format!("{place}:1")])],
    };
    let world = World::new().await;
    let source = token(
        &world.db,
        "alertmanager",
        Role::Source,
        Holder::Source("alertmanager".to_owned()),
    )
    .await;
    let prometheus = metrics().await;
    let mut cast = Cast::new(&world, &case);
    cast.lease = LEASE_IS_OVER;
    cast.enter("gateway").await;
    cast.enter("tool-router").await;
    world
        .register_measured(measured.then_some(prometheus.as_str()))
        .await;
    world.must_post(&source, "/v1/hooks/alertmanager", &alert()).await;
    cast.enter("orchestrator").await;
    let deadline = Instant::now() + WITHIN;
    let wanted = if measured { "requested" } else { "escalated" };
    while stage(&world).await != wanted || !cast.all_deaths_died() || jobs(&world).await > 0 {
        cast.replace_the_dead().await;
        assert!(
            Instant::now() < deadline,
            "{place}: {}\n{}",
            stage(&world).await,
            cast.tails()
        );
        sleep(Duration::from_millis(100)).await;
    }
    cast.everybody_lives();
    once(&world, place, measured).await
}

/// One incident, one diagnosis; one plan with one request, or none; one message, whoever died.
async fn once(world: &World, place: &str, measured: bool) -> String {
    let mut owner = world.db.owner().await;
    let count: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM incident), (SELECT count(*) FROM diagnosis), (SELECT count(*) FROM plan), (SELECT count(*) FROM approval),
           (SELECT count(*) FROM notification WHERE kind IN ('approval_requested', 'escalation'))",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    let plans = i64::from(measured);
    assert_eq!(
        count,
        (1, 1, plans, plans, 1),
        "{place}: incidents, diagnoses, plans, approvals, messages"
    );
    format!("{count:?}")
}

async fn stage(world: &World) -> String {
    let mut owner = world.db.owner().await;
    sqlx::query_scalar("SELECT stage FROM incident")
        .fetch_one(&mut owner)
        .await
        .unwrap()
}

async fn jobs(world: &World) -> i64 {
    let mut owner = world.db.owner().await;
    sqlx::query_scalar("SELECT count(*) FROM job WHERE kind = 'investigation'")
        .fetch_one(&mut owner)
        .await
        .unwrap()
}

fn alert() -> Value {
    let labels = json!({"alertname": "CheckoutHighErrorRate", "service": "checkout", "namespace": "shop", "severity": "critical"});
    let since =
        chrono::DateTime::<chrono::Utc>::from(SystemTime::now() - BROKEN_FOR + Duration::from_secs(120));
    json!({"version": "4", "groupKey": "{}", "status": "firing", "receiver": "carapulse", "commonLabels": labels,
        "alerts": [{"status": "firing", "labels": labels, "startsAt": since, "fingerprint": "5f2c1a9e0b7d4c31"}]})
}

/// A Prometheus in which the service fails since the bad commit was deployed.
async fn metrics() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let broken_at = unix(SystemTime::now() - BROKEN_FOR);
    let ratio = move |at: i64| if at < broken_at { "0.004" } else { "0.417" };
    let now = move |Form(form): Form<Vec<(String, String)>>| async move {
        let at = unix(SystemTime::now());
        answer(
            "vector",
            &form,
            json!({"metric": labels(), "value": [at, ratio(at)]}),
        )
    };
    let range = move |Form(form): Form<Vec<(String, String)>>| async move {
        let number = |name: &str| {
            form.iter()
                .find(|(key, _)| key == name)
                .and_then(|(_, text)| text.split('.').next()?.parse::<i64>().ok())
        };
        let (start, end, step) = (
            number("start").unwrap_or(0),
            number("end").unwrap_or(0),
            number("step").unwrap_or(60).max(1),
        );
        let points: Vec<Value> = (0..=(end - start) / step)
            .map(|n| start + n * step)
            .map(|at| json!([at, ratio(at)]))
            .collect();
        answer("matrix", &form, json!({"metric": labels(), "values": points}))
    };
    let routes = Router::new()
        .route("/api/v1/query", post(now))
        .route("/api/v1/query_range", post(range));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    url
}

fn unix(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn labels() -> Value {
    json!({"__name__": "http_requests_error_ratio", "service": "checkout", "namespace": "shop"})
}

fn answer(kind: &str, form: &[(String, String)], series: Value) -> Json<Value> {
    let asked = form
        .iter()
        .any(|(key, text)| key == "query" && text.contains("http_requests_error_ratio"));
    let result = if asked { json!([series]) } else { json!([]) };
    Json(json!({"status": "success", "data": {"resultType": kind, "result": result}}))
}
