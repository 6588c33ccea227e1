//! The registry of places: two persons for every change.

use carapulse::domain::Role;
use serde_json::json;

use super::world::{World, answer, problem};

#[tokio::test]
async fn a_target_comes_to_be_and_changes_by_two_persons_only() {
    let world = World::new().await;
    let (ada, bob) = (
        world.token("ada", Role::Admin).await,
        world.token("bob", Role::Admin).await,
    );
    let spec = json!({"name": "shop", "context": {"environment": "prod", "namespace": "shop"}});
    let mut acting = spec.clone();
    acting["mode"] = "act".into();
    let refused = world.post("/v1/targets", &ada, &acting).send().await.unwrap();
    assert_eq!(problem(refused).await, (422, "invalid_value".to_owned()));

    let (status, proposed) = answer(world.post("/v1/targets", &ada, &spec)).await;
    assert_eq!(
        (status, &proposed["pending"]["target"]["mode"]),
        (201, &json!("observe"))
    );
    let own = world
        .post("/v1/targets/shop:confirm", &ada, &json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(own).await, (403, "approval_refused".to_owned()));
    assert_eq!(
        answer(world.get("/v1/targets/shop", &ada)).await.1["target"],
        json!(null)
    );
    let (status, made) = answer(world.post("/v1/targets/shop:confirm", &bob, &json!({}))).await;
    assert_eq!((status, &made["target"]["version"]), (200, &json!(1)));

    assert_eq!(answer(world.post("/v1/targets", &bob, &acting)).await.0, 201);
    let (_, seen) = answer(world.get("/v1/targets/shop", &ada)).await;
    assert_eq!(
        (&seen["target"]["mode"], &seen["pending"]["target"]["mode"]),
        (&json!("observe"), &json!("act"))
    );
    let (_, made) = answer(world.post("/v1/targets/shop:confirm", &ada, &json!({}))).await;
    assert_eq!(
        (&made["target"]["version"], &made["target"]["mode"]),
        (&json!(2), &json!("act"))
    );
    let twice = world
        .post("/v1/targets/shop:confirm", &ada, &json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(twice).await.1, "not_found");
    let audited = "SELECT count(*) FROM audit_event WHERE action IN ('target.propose', 'target.confirm')";
    assert_eq!(world.count(audited).await, 4);
    let paged = "SELECT count(*) FROM notification WHERE kind = 'admin_change' AND severity = 'page'";
    assert_eq!(world.count(paged).await, 4);
    assert_eq!(
        world
            .count("SELECT count(*) FROM person WHERE barred_until IS NOT NULL")
            .await,
        2
    );
}

#[tokio::test]
async fn a_freeze_is_said_audited_and_lifted() {
    let world = World::new().await;
    let ada = world.token("ada", Role::Admin).await;
    let set = |frozen: bool| {
        world.post(
            "/v1/freeze",
            &ada,
            &json!({"frozen": frozen, "reason": "cut-over"}),
        )
    };
    assert_eq!(answer(set(true)).await.0, 200);
    assert_eq!(
        answer(world.get("/v1/freeze", &ada)).await.1,
        json!({"frozen": true, "reason": "cut-over"})
    );
    assert_eq!(answer(set(false)).await.0, 200);
    assert_eq!(
        answer(world.get("/v1/freeze", &ada)).await.1["frozen"],
        json!(false)
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM audit_event WHERE action LIKE 'installation.%'")
            .await,
        2
    );
}
