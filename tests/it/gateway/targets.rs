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
    let change = json!({"change_id": proposed["pending"]["change_id"]});
    let other = world
        .post(
            "/v1/targets/shop:confirm",
            &bob,
            &json!({"change_id": uuid::Uuid::nil()}),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(problem(other).await, (409, "conflict".to_owned()));
    let own = world
        .post("/v1/targets/shop:confirm", &ada, &change)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(own).await, (403, "approval_refused".to_owned()));
    assert_eq!(
        answer(world.get("/v1/targets/shop", &ada)).await.1["target"],
        json!(null)
    );
    let (status, made) = answer(world.post("/v1/targets/shop:confirm", &bob, &change)).await;
    assert_eq!((status, &made["target"]["version"]), (200, &json!(1)));

    assert_eq!(answer(world.post("/v1/targets", &bob, &acting)).await.0, 201);
    let (_, seen) = answer(world.get("/v1/targets/shop", &ada)).await;
    assert_eq!(
        (&seen["target"]["mode"], &seen["pending"]["target"]["mode"]),
        (&json!("observe"), &json!("act"))
    );
    let change = json!({"change_id": seen["pending"]["change_id"]});
    let (_, made) = answer(world.post("/v1/targets/shop:confirm", &ada, &change)).await;
    assert_eq!(
        (&made["target"]["version"], &made["target"]["mode"]),
        (&json!(2), &json!("act"))
    );
    let twice = world
        .post("/v1/targets/shop:confirm", &ada, &change)
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

#[tokio::test]
async fn an_environment_that_policy_does_not_know_is_refused_when_the_place_is_proposed() {
    let world = World::new().await;
    let ada = world.token("ada", Role::Admin).await;
    let propose = |environment: &str| {
        let spec = json!({"name": "shop", "context": {"environment": environment}});
        world.post("/v1/targets", &ada, &spec)
    };
    let (status, refused) = answer(propose("moon")).await;
    assert_eq!(
        (status, &refused["type"]),
        (422, &json!("urn:carapulse:problem:invalid_value"))
    );
    assert_eq!(refused["errors"][0]["pointer"], "/context/environment");
    let known = refused["errors"][0]["detail"].as_str().unwrap();
    assert!(known.contains("local, dev, staging or prod"), "{known}");
    for known in ["dev", "Production"] {
        assert_eq!(answer(propose(known)).await.0, 201, "{known}");
    }
}

#[tokio::test]
async fn the_catalogue_is_listed_with_what_an_approval_covers() {
    let world = World::new().await;
    let viewer = world.token("vera", Role::Viewer).await;
    let (status, list) = answer(world.get("/v1/tools", &viewer)).await;
    assert_eq!(status, 200);
    let tools = list["data"].as_array().unwrap();
    let named: Vec<_> = tools.iter().map(|tool| tool["tool"].as_str().unwrap()).collect();
    assert!(named.contains(&"kubectl") && named.contains(&"git"), "{named:?}");
    let (_, one) = answer(world.get("/v1/tools/kubectl", &viewer)).await;
    let actions = one["tool"]["actions"].as_array().unwrap();
    let scale = actions.iter().find(|action| action["action"] == "scale").unwrap();
    assert_eq!(
        (&scale["class"], &scale["reversible"]),
        (&json!("write"), &json!(true))
    );
    assert!(
        scale["arguments"]["properties"]["replicas"].is_object(),
        "{scale}"
    );
    for key in ["risk", "effect", "guard", "digest"] {
        assert!(scale[key].is_string(), "{key}: {scale}");
    }
    let none = world.get("/v1/tools/rm", &viewer).send().await.unwrap();
    assert_eq!(problem(none).await, (404, "not_found".to_owned()));
}
