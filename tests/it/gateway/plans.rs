//! From a wish to an execution, with one approval by another person, and every key once.

use carapulse::domain::Role;
use serde_json::{Value, json};

use super::world::{World, answer, problem};

fn scale() -> Value {
    json!({"target": "shop", "summary": "more room", "intent": {"kind": "scale", "service": "checkout", "replicas": 5}})
}

#[tokio::test]
async fn a_plan_is_approved_by_another_person_and_executed_once() {
    let world = World::new().await;
    world.target("shop").await;
    let (ada, bob) = (
        world.token("ada", Role::Approver).await,
        world.token("bob", Role::Approver).await,
    );
    let (status, made) = answer(world.post("/v1/plans", &ada, &scale())).await;
    assert_eq!(status, 201, "{made}");
    let (id, digest) = (
        made["plan_id"].as_str().unwrap(),
        made["plan"]["digest"].as_str().unwrap(),
    );
    assert_eq!(made["plan"]["status"], "pending_approval");
    assert_eq!(made["plan"]["steps"][0]["tool"], "kubectl");
    let (_, read) = answer(world.get(&format!("/v1/plans/{id}"), &ada)).await;
    assert_eq!(made["plan"], read, "what is answered is what was stored");

    let yes = |token: &str, digest: &str| {
        world.post(
            "/v1/approvals",
            token,
            &json!({"plan_id": id, "digest": digest, "status": "approved"}),
        )
    };
    let execute = || world.post(&format!("/v1/plans/{id}:execute"), &ada, &json!({}));
    assert_eq!(
        problem(execute().send().await.unwrap()).await,
        (409, "conflict".to_owned()),
        "not approved yet"
    );
    assert_eq!(
        problem(yes(&ada, digest).send().await.unwrap()).await,
        (403, "approval_refused".to_owned())
    );
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        problem(yes(&bob, &other).send().await.unwrap()).await,
        (409, "digest_mismatch".to_owned())
    );
    let (_, pending) = answer(world.get("/v1/approvals?status=pending", &bob)).await;
    assert_eq!(pending["data"][0]["plan_id"], id);
    assert_eq!(answer(yes(&bob, digest)).await.0, 201);
    assert_eq!(
        problem(yes(&bob, digest).send().await.unwrap()).await.0,
        409,
        "a second yes"
    );

    let (status, started) = answer(execute()).await;
    assert_eq!(status, 201, "{started}");
    assert_eq!(
        problem(execute().send().await.unwrap()).await.0,
        409,
        "an approval is good for one execution"
    );
    let execution = started["execution_id"].as_str().unwrap();
    let (_, seen) = answer(world.get(&format!("/v1/executions/{execution}"), &ada)).await;
    assert_eq!(
        (&seen["status"], &seen["plan_id"]),
        (&json!("pending"), &json!(id))
    );
    let (_, steps) = answer(world.get(&format!("/v1/executions/{execution}/steps"), &ada)).await;
    assert_eq!(steps["data"][0]["status"], "pending");
    let cancel = world.post(&format!("/v1/executions/{execution}/cancel"), &ada, &json!({}));
    assert_eq!(answer(cancel).await.0, 202);
    let (_, risk) = answer(world.get(&format!("/v1/plans/{id}/risk"), &ada)).await;
    assert_eq!(risk["writes"], 1, "{risk}");
}

#[tokio::test]
async fn an_intent_that_no_rule_understands_is_a_draft_that_is_never_executed() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Operator).await;
    let body = json!({"target": "shop", "intent": "make everything better somehow"});
    let (status, made) = answer(world.post("/v1/plans", &ada, &body)).await;
    assert_eq!(
        (status, &made["plan"]["status"]),
        (201, &json!("draft")),
        "{made}"
    );
    assert!(!made["plan"]["lacks"].as_str().unwrap().is_empty());
    let path = format!("/v1/plans/{}:execute", made["plan_id"].as_str().unwrap());
    assert_eq!(
        problem(world.post(&path, &ada, &json!({})).send().await.unwrap())
            .await
            .0,
        409
    );
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_another_body_is_refused() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Operator).await;
    let send = |body: &Value| {
        world
            .post("/v1/plans", &ada, body)
            .header("Idempotency-Key", "k-1")
    };
    let body = scale();
    let parallel = (0..6).map(|_| answer(send(&body)));
    let answers = futures::future::join_all(parallel).await;
    for (status, plan) in &answers {
        assert_eq!((*status, &plan["plan_id"]), (201, &answers[0].1["plan_id"]));
    }
    assert_eq!(world.count("SELECT count(*) FROM plan").await, 1);
    let other = json!({"target": "shop", "intent": "something else"});
    assert_eq!(
        problem(send(&other).send().await.unwrap()).await,
        (422, "idempotency_mismatch".to_owned())
    );
    let bob = world.token("bob", Role::Operator).await;
    let foreign = world
        .post("/v1/plans", &bob, &body)
        .header("Idempotency-Key", "k-1");
    assert_ne!(
        answer(foreign).await.1["plan_id"],
        answers[0].1["plan_id"],
        "keys belong to a token"
    );
}

#[tokio::test]
async fn a_workflow_is_a_plan_like_any_other() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Operator).await;
    let body = json!({"target": "shop", "input": {"service": "checkout", "replicas": 4}});
    let (status, made) = answer(world.post("/v1/workflows/scale_service/start", &ada, &body)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["plan"]["trigger"], &made["plan"]["status"]),
        (&json!("workflow"), &json!("pending_approval"))
    );
    let lacking = json!({"target": "shop", "input": {"service": "checkout"}});
    let refused = world
        .post("/v1/workflows/scale_service/start", &ada, &lacking)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(refused).await, (422, "missing_field".to_owned()));
}
