//! The public API alone, on a real cluster: create, list, approve, execute, verify; then the same and roll back.

use serde_json::{Value, json};

use crate::{
    api::{Api, text},
    cluster::Namespace,
    installation::Installation,
};

const IMAGE: &str = "registry.example/shop/checkout:1.4.2";

async fn listed(api: &Api, plan: &str, status: &str) -> Value {
    api.until(&format!("the list shows {plan} {status}"), "/v1/plans", |list| {
        let plans = list["data"].as_array()?;
        let found = plans.iter().find(|row| row["plan_id"] == plan)?;
        (text(found, "/status") == status).then(|| found.clone())
    })
    .await
}

fn replicas(namespace: &Namespace) -> Value {
    namespace.deployment("checkout")["spec"]["replicas"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_created_listed_approved_executed_verified_and_another_rolled_back() {
    let it = Installation::new().await;
    let namespace = Namespace::new("by-hand");
    namespace.deploy("checkout", 3, IMAGE);
    it.register(&namespace, "checkout", Some("writer")).await;

    let intent = json!({ "kind": "scale", "service": "checkout", "replicas": 5 });
    let (plan, digest) = it.plan(&namespace, &intent).await;
    listed(&it.ada, &plan, "pending_approval").await;
    it.approve(&plan, &digest).await;
    let ended = it.ada.ended(&it.execute(&plan).await).await;
    // Said only of an execution whose assertions were measured and met.
    assert_eq!(text(&ended, "/status"), "succeeded", "{ended:#}");
    assert_eq!(replicas(&namespace), 5);

    // Measured for so long that there is time to think better of it.
    let body = json!({
        "target": namespace.name, "intent": { "kind": "scale", "service": "checkout", "replicas": 2 },
        "verification": { "settle_secs": 60, "window_secs": 120, "interval_secs": 1, "min_samples": 2 },
    });
    let created = it.ada.post("/v1/plans", &body).await;
    let (plan, digest) = (text(&created, "/plan_id"), text(&created, "/plan/digest"));
    it.approve(&plan, &digest).await;
    let execution = it.execute(&plan).await;
    it.ada
        .until(
            "the step is done",
            &format!("/v1/executions/{execution}/steps"),
            |steps| (text(steps, "/data/0/status") == "done").then_some(()),
        )
        .await;
    assert_eq!(replicas(&namespace), 2);
    it.ada
        .post(
            &format!("/v1/executions/{execution}/rollback"),
            &json!({ "note": "too few" }),
        )
        .await;
    let ended = it.ada.ended(&execution).await;
    assert_eq!(text(&ended, "/status"), "rolled_back", "{ended:#}");
    assert_eq!(replicas(&namespace), 5);
}
