//! What is refused on a real cluster: drift, a target that changed, a write without a credential for writes.

use serde_json::json;

use crate::{
    api::text,
    cluster::Namespace,
    installation::{Installation, yes},
};

const IMAGE: &str = "registry.example/shop/checkout:1.4.2";

async fn deployed(purpose: &str, writer: Option<&str>) -> (Installation, Namespace) {
    let it = Installation::new().await;
    let namespace = Namespace::new(purpose);
    namespace.deploy("checkout", 3, IMAGE);
    it.register(&namespace, "checkout", writer).await;
    (it, namespace)
}

fn scale_to_five() -> serde_json::Value {
    json!({ "kind": "scale", "service": "checkout", "replicas": 5 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_is_done_once_and_what_has_drifted_since_is_not() {
    let (it, namespace) = deployed("drift", Some("writer")).await;
    let (first, digest) = it.plan(&namespace, &scale_to_five()).await;
    it.approve(&first, &digest).await;
    let (second, digest) = it
        .plan(
            &namespace,
            &json!({ "kind": "scale", "service": "checkout", "replicas": 4 }),
        )
        .await;
    it.approve(&second, &digest).await;
    let ended = it.ada.ended(&it.execute(&first).await).await;
    assert_eq!(text(&ended, "/status"), "succeeded", "{ended:#}");
    assert_eq!(namespace.deployment("checkout")["spec"]["replicas"], 5);

    let execution = it.execute(&second).await;
    let ended = it.ada.ended(&execution).await;
    assert_eq!(text(&ended, "/status"), "failed", "{ended:#}");
    assert_eq!(
        namespace.deployment("checkout")["spec"]["replicas"],
        5,
        "nothing was done"
    );
    assert_eq!(text(&ended, "/reason"), "drifted", "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_a_target_that_changed_since_is_neither_approved_nor_executed() {
    let (it, namespace) = deployed("changed", Some("writer")).await;
    let (approved, digest) = it.plan(&namespace, &scale_to_five()).await;
    it.approve(&approved, &digest).await;
    let (pending, digest) = it.plan(&namespace, &scale_to_five()).await;
    let mut target = it.target(&namespace, "checkout", Some("writer"), "act");
    target["protected"] = true.into();
    it.change_target(&namespace, &target).await;

    let (status, answer) = it.grace.try_post("/v1/approvals", &yes(&pending, &digest)).await;
    assert!(status >= 400, "approved: {answer:#}");
    assert!(answer.to_string().contains("target_changed"), "{answer:#}");

    let execute = format!("/v1/plans/{approved}:execute");
    let (status, answer) = it.ada.try_post(&execute, &json!({})).await;
    assert_eq!(status, 409, "{answer:#}");
    assert!(text(&answer, "/detail").contains("has changed"), "{answer:#}");
    assert_eq!(namespace.deployment("checkout")["spec"]["replicas"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_reads_writes_nothing() {
    let (it, namespace) = deployed("no-writer", None).await;
    let (plan, digest) = it.plan(&namespace, &scale_to_five()).await;
    it.approve(&plan, &digest).await;
    let execution = it.execute(&plan).await;
    let ended = it.ada.ended(&execution).await;
    assert_eq!(text(&ended, "/status"), "failed", "{ended:#}");
    assert_eq!(text(&ended, "/reason"), "target_invalid", "{ended:#}");

    // The cluster's own word, should somebody register the reader's credential for writes.
    let target = it.target(&namespace, "checkout", Some("reader"), "act");
    it.change_target(&namespace, &target).await;
    let (plan, digest) = it.plan(&namespace, &scale_to_five()).await;
    it.approve(&plan, &digest).await;
    let execution = it.execute(&plan).await;
    let ended = it.ada.ended(&execution).await;
    assert_eq!(text(&ended, "/status"), "failed", "{ended:#}");
    let log = it
        .ada
        .bytes(&format!("/v1/executions/{execution}/logs?follow=false"))
        .await;
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("forbidden"), "{ended:#} {log}");
    assert_eq!(namespace.deployment("checkout")["spec"]["replicas"], 3);
}
