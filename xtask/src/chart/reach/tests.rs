use super::*;
use serde_json::json;

fn pod(name: &str, port: u16) -> Value {
    json!({"kind": "Deployment", "metadata": {"namespace": NAMESPACE}, "spec": {"template": {
        "metadata": {"labels": {"app.kubernetes.io/component": name}},
        "spec": {"containers": [{"ports": [{"containerPort": port}]}]}}}})
}

fn policy(name: &str, ingress: Value, egress: Value) -> Value {
    json!({"kind": "NetworkPolicy", "spec": {"podSelector": {"matchLabels": {"app.kubernetes.io/component": name}},
        "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}})
}

fn open(rendered: &[Value]) -> BTreeSet<String> {
    let all = connections(rendered, &parties(rendered));
    all.into_iter()
        .filter(|way| way.starts_with("a -> ") || way.contains(" -> a:"))
        .collect()
}

#[test]
fn without_a_policy_everything_is_open_and_with_an_empty_one_nothing() {
    let everything = open(&[pod("a", 1)]);
    assert!(everything.contains("stranger -> a:1") && everything.contains("a -> internet:80"));
    assert_eq!(
        open(&[pod("a", 1), policy("a", json!([]), json!([]))]),
        BTreeSet::new()
    );
}

#[test]
fn both_ends_must_allow_a_connection() {
    let to_b = json!([{"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "b"}}}], "ports": [{"port": 2}]}]);
    let from_a = json!([{"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "a"}}}]}]);
    let shut = [
        pod("a", 1),
        pod("b", 2),
        policy("a", json!([]), to_b.clone()),
        policy("b", json!([]), json!([])),
    ];
    assert_eq!(open(&shut), BTreeSet::new());
    let both = [
        pod("a", 1),
        pod("b", 2),
        policy("a", json!([]), to_b),
        policy("b", from_a, json!([])),
    ];
    assert_eq!(open(&both), BTreeSet::from(["a -> b:2".to_owned()]));
}

#[test]
fn blocks_have_exceptions_and_ports_have_protocols() {
    let out = json!([
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}}], "ports": [{"port": 443}]},
        {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
         "ports": [{"port": 53, "protocol": "UDP"}]}]);
    let ways = open(&[pod("a", 1), policy("a", json!([]), out)]);
    assert_eq!(
        ways,
        BTreeSet::from(["a -> s3:443".to_owned(), "a -> dns:53/UDP".to_owned()])
    );
}
