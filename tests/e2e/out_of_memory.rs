//! A service that is killed for its memory: diagnosed from the last terminated state of its real pod objects.

use serde_json::json;

use crate::{
    api::text,
    cluster::Namespace,
    installation::Installation,
    roll_out::{diagnosed, diagnosis},
};

const OOM: &str = "registry.example/shop/checkout:oom";

/// One alert, straight to the hook.
async fn alert(it: &Installation, namespace: &Namespace) {
    let labels = json!({ "alertname": "CheckoutDown", "service": "checkout", "namespace": namespace.name });
    let body = json!({
        "version": "4", "groupKey": "{}:{alertname=\"CheckoutDown\"}", "status": "firing", "receiver": "carapulse",
        "groupLabels": {}, "commonLabels": labels, "commonAnnotations": {}, "externalURL": "http://alertmanager.example",
        "alerts": [{ "status": "firing", "labels": labels, "annotations": {}, "startsAt": now(), "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "fingerprint": "5f2c1a9e0b7d4c31" }],
    });
    it.alertmanager.post("/v1/hooks/alertmanager", &body).await;
}

fn now() -> String {
    use carapulse::domain::{Clock as _, SystemClock};
    SystemClock.now().to_rfc3339()
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_since_a_roll_out_is_diagnosed_and_the_roll_out_suspected() {
    let it = Installation::new().await;
    let namespace = Namespace::new("oom");
    namespace.deploy("checkout", 2, "registry.example/shop/checkout:1.4.2");
    it.register(&namespace, "checkout", Some("writer")).await;
    namespace.roll_out("checkout", OOM);
    namespace.until_pod_waits(OOM, "CrashLoopBackOff").await;
    alert(&it, &namespace).await;
    let incident = diagnosed(&it).await;
    let said = diagnosis(&incident).to_string();
    assert!(
        said.contains("\"oom\"") && said.contains("\"roll_out\""),
        "{incident:#}"
    );
    assert_eq!(text(&incident, "/stage"), "requested", "{incident:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_without_a_change_is_known_and_goes_to_a_person() {
    let it = Installation::new().await;
    let namespace = Namespace::new("oom-first");
    it.register(&namespace, "checkout", Some("writer")).await;
    namespace.create("checkout", 2, OOM);
    namespace.until_pod_waits(OOM, "CrashLoopBackOff").await;
    alert(&it, &namespace).await;
    let incident = diagnosed(&it).await;
    assert!(
        diagnosis(&incident).to_string().contains("\"oom\""),
        "{incident:#}"
    );
    assert_eq!(text(&incident, "/stage"), "escalated", "{incident:#}");
    assert_eq!(incident["plans"], json!([]), "{incident:#}");
    let told = it.ada.get("/v1/notifications").await;
    assert!(
        text(&told, "/data/0/subject").contains("no change is known"),
        "{told:#}"
    );
}
