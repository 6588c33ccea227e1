//! Alertmanager's deliveries over HTTP: many at once, again, late, and resolved.

use carapulse::domain::Role;
use serde_json::{Value, json};

use crate::gateway::world::{World, answer};

fn alert(service: &str, number: usize, status: &str, starts: &str) -> Value {
    json!({
        "status": status,
        "labels": {"alertname": "HighErrorRate", "service": service, "pod": format!("pod-{number}")},
        "annotations": {},
        "startsAt": starts,
        "endsAt": if status == "resolved" { "2026-03-01T11:00:00Z" } else { "0001-01-01T00:00:00Z" },
        "fingerprint": format!("{service}{number}"),
    })
}

fn body(alerts: Vec<Value>) -> Value {
    json!({"version": "4", "groupKey": "{}", "status": "firing", "receiver": "carapulse", "alerts": alerts, "new_field": [1.5, null]})
}

const START: &str = "2026-03-01T10:00:00Z";

#[tokio::test]
async fn many_overlapping_deliveries_at_once_count_every_alert_exactly() {
    let world = World::new().await;
    let source = world.token("alertmanager", Role::Source).await;
    // 60 deliveries of 20 alerts out of 40: every alert is delivered exactly 30 times.
    let deliveries = (0..60_usize).map(|d| {
        let alerts = (0..20)
            .map(|a| alert("checkout", (d % 2) * 20 + a, "firing", START))
            .collect();
        answer(world.post("/v1/hooks/alertmanager", &source, &body(alerts)))
    });
    let answers = futures::future::join_all(deliveries).await;
    let mut ids: Vec<_> = answers
        .iter()
        .map(|(status, answer)| {
            assert_eq!((*status, &answer["received"]), (202, &json!(true)), "{answer}");
            answer["event_id"].as_str().unwrap()
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 60, "each delivery has its own id");
    assert_eq!(world.count("SELECT count(*) FROM signal").await, 40);
    assert_eq!(
        world
            .count("SELECT count(*) FROM signal WHERE occurrences = 30")
            .await,
        40
    );
    assert_eq!(world.count("SELECT count(*) FROM delivery").await, 60);
    assert_eq!(
        world.count("SELECT count(*) FROM incident").await,
        1,
        "one service, one incident"
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM job WHERE kind = 'investigation'")
            .await,
        1
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM signal WHERE incident_id IS NULL")
            .await,
        0
    );
    assert!(
        world
            .count("SELECT count(*) FROM audit_event WHERE action = 'hook.received'")
            .await
            >= 1
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM audit_event WHERE action = 'incident.open'")
            .await,
        1
    );
}

#[tokio::test]
async fn an_incident_closes_when_all_its_alerts_are_resolved_and_a_new_firing_opens_another() {
    let world = World::new().await;
    let source = world.token("alertmanager", Role::Source).await;
    let send = async |alerts: Vec<Value>| {
        let (status, answer) = answer(world.post("/v1/hooks/alertmanager", &source, &body(alerts))).await;
        assert_eq!(status, 202, "{answer}");
    };
    let open = "SELECT count(*) FROM incident WHERE status = 'open'";
    let closed = "SELECT count(*) FROM incident WHERE status = 'resolved'";
    send(vec![
        alert("checkout", 1, "firing", START),
        alert("checkout", 2, "firing", START),
    ])
    .await;
    send(vec![alert("cart", 1, "resolved", START)]).await;
    assert_eq!(
        (world.count(open).await, world.count(closed).await),
        (1, 0),
        "a resolved alert opens nothing"
    );
    send(vec![alert("checkout", 1, "resolved", START)]).await;
    assert_eq!(
        (world.count(open).await, world.count(closed).await),
        (1, 0),
        "one still fires"
    );
    send(vec![alert("checkout", 2, "resolved", START)]).await;
    assert_eq!((world.count(open).await, world.count(closed).await), (0, 1));
    // The first delivery again, late: what it tells is older than what is known.
    send(vec![
        alert("checkout", 1, "firing", START),
        alert("checkout", 2, "firing", START),
    ])
    .await;
    assert_eq!(
        (world.count(open).await, world.count(closed).await),
        (0, 1),
        "a late retry reopens nothing"
    );
    send(vec![alert("checkout", 1, "firing", "2026-03-01T12:00:00Z")]).await;
    assert_eq!((world.count(open).await, world.count(closed).await), (1, 1));
    assert_eq!(
        world
            .count("SELECT count(*) FROM job WHERE kind = 'investigation'")
            .await,
        2
    );
    assert_eq!(world.count("SELECT count(*) FROM plan").await, 0);

    let viewer = world.token("ada", Role::Viewer).await;
    let (_, list) = answer(world.get("/v1/incidents?status=open", &viewer)).await;
    let id = list["data"][0]["incident_id"].as_str().unwrap();
    let (_, incident) = answer(world.get(&format!("/v1/incidents/{id}"), &viewer)).await;
    assert_eq!(
        (&incident["title"], &incident["signals"][0]["occurrences"]),
        (&json!("HighErrorRate: checkout"), &json!(4))
    );
}

#[tokio::test]
async fn labels_choose_no_tenant_and_the_body_is_kept_as_it_came() {
    let world = World::new().await;
    let source = world.token("alertmanager", Role::Source).await;
    let mut sly = alert("checkout", 1, "firing", START);
    sly["labels"]["tenant"] = "other".into();
    sly["labels"]["tenant_id"] = "other".into();
    let sent = body(vec![sly]);
    assert_eq!(
        answer(world.post("/v1/hooks/alertmanager", &source, &sent))
            .await
            .0,
        202
    );
    assert_eq!(
        world.count("SELECT count(*) FROM signal").await,
        1,
        "it lies in the token's tenant"
    );
    let mut owner = world.db.owner().await;
    sqlx::query("SELECT set_config('carapulse.tenant', 'default', false)")
        .execute(&mut owner)
        .await
        .unwrap();
    let raw: Vec<u8> = sqlx::query_scalar("SELECT body FROM delivery")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap(), sent);
}
