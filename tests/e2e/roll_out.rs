//! A roll-out that cannot pull its image: alert → finding → plan → two persons → kubectl in the sandbox → verified → closed.

use serde_json::{Value, json};

use crate::{
    alertmanager::Alertmanager,
    api::text,
    cluster::Namespace,
    installation::{Installation, yes},
};

const GOOD: &str = "registry.example/shop/checkout:1.4.2";
const BAD: &str = "registry.example/shop/checkout:broken";

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_a_real_alertmanager_ends_as_a_verified_roll_back_on_a_real_cluster() {
    let it = Installation::new().await;
    let namespace = Namespace::new("roll-out");
    namespace.deploy("checkout", 3, GOOD);
    it.register(&namespace, "checkout", Some("writer")).await;
    let alertmanager = Alertmanager::start(&it).await;
    namespace.roll_out("checkout", BAD);
    namespace.until_pod_waits(BAD, "ImagePullBackOff").await;

    let labels = [
        ("alertname", "CheckoutRollOutStuck"),
        ("service", "checkout"),
        ("namespace", &namespace.name),
        ("severity", "critical"),
    ];
    alertmanager.alert(&labels, false);
    let incident = diagnosed(&it).await;
    found_the_roll_out(&incident);
    let plan = text(&incident, "/plans/0");
    let digest = the_plan_says_it(&it, &plan).await;

    let (status, refused) = it
        .ada
        .try_post("/v1/approvals", &yes(&plan, &other(&digest)))
        .await;
    assert!(status >= 400, "other bytes were approved: {refused:#}");
    it.approve(&plan, &digest).await;
    let execution = it.execute(&plan).await;
    let ended = it.ada.ended(&execution).await;
    let steps = it.ada.get(&format!("/v1/executions/{execution}/steps")).await;
    assert_eq!(text(&ended, "/status"), "succeeded", "{ended:#} {steps:#}");

    let deployment = namespace.deployment("checkout");
    assert_eq!(text(&deployment, "/spec/template/spec/containers/0/image"), GOOD);
    assert_eq!(deployment["status"]["availableReplicas"], 3);
    assert_eq!(deployment["status"]["updatedReplicas"], 3);
    evidence(&it, &execution).await;

    alertmanager.alert(&labels, true);
    let path = format!("/v1/incidents/{}", text(&incident, "/incident_id"));
    it.ada
        .until("the incident closes", &path, |incident| {
            (text(incident, "/status") == "resolved").then_some(())
        })
        .await;
}

/// The one incident, once its investigation has ended with a plan.
pub(crate) async fn diagnosed(it: &Installation) -> Value {
    let id = it
        .ada
        .until("an incident opens", "/v1/incidents", |list| {
            Some(list.pointer("/data/0/incident_id")?.as_str()?.to_owned())
        })
        .await;
    let over = ["requested", "escalated", "done", "suppressed"];
    it.ada
        .until(
            "the investigation ends",
            &format!("/v1/incidents/{id}"),
            |incident| {
                over.contains(&text(incident, "/stage").as_str())
                    .then(|| incident.clone())
            },
        )
        .await
}

/// The findings of the newest diagnosis.
pub(crate) fn diagnosis(incident: &Value) -> &Value {
    incident
        .pointer("/diagnoses/0")
        .unwrap_or_else(|| panic!("no diagnosis: {incident:#}"))
}

fn found_the_roll_out(incident: &Value) {
    assert_eq!(text(incident, "/stage"), "requested", "{incident:#}");
    let diagnosis = diagnosis(incident);
    let said = diagnosis.to_string();
    assert!(said.contains("\"image_pull\""), "{diagnosis:#}");
    assert!(said.contains(BAD), "{diagnosis:#}");
    assert!(said.contains("\"roll_out\""), "{diagnosis:#}");
}

/// The plan is what a person would have done, measured. Answers its digest.
async fn the_plan_says_it(it: &Installation, plan: &str) -> String {
    let body = it.ada.get(&format!("/v1/plans/{plan}")).await;
    let steps = body["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 1, "{body:#}");
    assert_eq!(
        (text(&steps[0], "/tool"), text(&steps[0], "/action")),
        ("kubectl".to_owned(), "rollout_undo".to_owned())
    );
    assert_eq!(
        steps[0]["input"],
        json!({ "resource": "deployment/checkout", "revision": 1 })
    );
    let assertions = body["verification"]["assertions"].as_array().expect("assertions");
    assert!(
        assertions
            .iter()
            .any(|a| text(a, "/name") == "3 replicas of deployment/checkout are available"),
        "{assertions:#?}"
    );
    assert_eq!(text(&body, "/status"), "pending_approval");
    text(&body, "/digest")
}

fn other(digest: &str) -> String {
    let flipped = if digest.ends_with('0') { '1' } else { '0' };
    format!("{}{flipped}", &digest[..digest.len() - 1])
}

/// The bundle verifies without a server; with one byte changed it does not.
async fn evidence(it: &Installation, execution: &str) {
    let mut bundle = it
        .ada
        .bytes(&format!("/v1/executions/{execution}/evidence"))
        .await;
    let (passed, said) = it.verify_bundle(&bundle).await;
    assert!(passed, "{said}");
    let middle = bundle.len() / 2;
    bundle[middle] ^= 1;
    let (passed, said) = it.verify_bundle(&bundle).await;
    assert!(!passed, "{said}");
}
