//! What holds of every service and every network. The tables are the documentation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Who is on a network, and whether it leads nowhere else. No network is not listed here.
pub const NETWORKS: &[(&str, bool, &[&str])] = &[
    ("edge", false, &["gateway"]),
    ("chat", false, &["agent"]),
    ("temporal-web", false, &["temporal-ui"]),
    ("graphs", false, &["grafana", "prometheus"]),
    ("managed", false, &["tool-router"]),
    ("sandbox", true, &["sandbox", "tool-router"]),
    ("gateway-router", true, &["gateway", "tool-router"]),
    ("orchestrator-router", true, &["orchestrator", "tool-router"]),
    ("gateway-agent", true, &["agent", "gateway", "prometheus"]),
    (
        "gateway-state",
        true,
        &["gateway", "minio", "opa", "postgres", "prometheus"],
    ),
    (
        "router-state",
        true,
        &["minio", "opa", "postgres", "prometheus", "tool-router"],
    ),
    (
        "orchestrator-state",
        true,
        &[
            "minio",
            "opa",
            "orchestrator",
            "postgres",
            "prometheus",
            "temporal",
        ],
    ),
    (
        "setup",
        true,
        &["migrate", "minio", "minio-init", "postgres", "temporal-schema"],
    ),
    (
        "temporal",
        true,
        &[
            "postgres",
            "prometheus",
            "temporal",
            "temporal-admin-tools",
            "temporal-ui",
        ],
    ),
    ("telemetry", true, &["grafana", "otel-collector", "prometheus"]),
    (
        "simulation",
        true,
        &[
            "localstack",
            "localstack-init",
            "orchestrator",
            "tool-router",
            "vault",
            "vault-init",
        ],
    ),
];

/// Services whose root is not read-only, and why.
const WRITABLE_ROOT: &[(&str, &str)] = &[("localstack", "installs what it simulates into itself")];

/// Services whose passwords are written down, because they guard nothing.
const SIMULATED: &[&str] = &["localstack", "localstack-init", "vault", "vault-init"];

/// Every rule that is broken, a line each.
pub fn broken(project: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let empty = serde_json::Map::new();
    let services = project["services"].as_object().unwrap_or(&empty);
    for (name, service) in services {
        let mut want = |holds: bool, what: &str| {
            if !holds {
                broken.push(format!("{name}: {what}"));
            }
        };
        contained(name, service, &mut want);
        connected(service, &mut want);
        secretive(name, service, &mut want);
    }
    broken.extend(networks(project, services));
    broken
}

fn contained(name: &str, service: &Value, want: &mut impl FnMut(bool, &str)) {
    let image = service["image"].as_str().unwrap_or_default();
    want(is_pinned(image), "its image has no exact tag");
    let check = &service["healthcheck"];
    let has_test = check["test"].as_array().is_some_and(|test| !test.is_empty());
    want(has_test && check["disable"] != true, "it has no health check");
    let writable = WRITABLE_ROOT.iter().any(|(exempt, _)| *exempt == name);
    want(
        service["read_only"] == true || writable,
        "its root is not read-only",
    );
    want(
        service["cap_drop"] == serde_json::json!(["ALL"]),
        "it keeps capabilities",
    );
    want(
        service["cap_add"].is_null() && service["privileged"] != true,
        "it is given capabilities",
    );
    let options = service["security_opt"].as_array();
    let no_new =
        options.is_some_and(|options| options.iter().any(|option| option == "no-new-privileges:true"));
    want(no_new, "it may gain privileges");
    want(!service["mem_limit"].is_null(), "its memory has no limit");
    want(!service["pids_limit"].is_null(), "its processes have no limit");
    for key in ["network_mode", "pid", "ipc", "devices", "userns_mode"] {
        want(service[key].is_null(), &format!("`{key}` is set"));
    }
}

fn connected(service: &Value, want: &mut impl FnMut(bool, &str)) {
    for volume in service["volumes"].as_array().into_iter().flatten() {
        let source = volume["source"].as_str().unwrap_or_default();
        want(!source.ends_with(".sock"), "a socket of the machine is mounted");
        let bound = volume["type"] == "bind";
        want(
            !bound || volume["read_only"] == true,
            &format!("{source} is mounted to be written"),
        );
    }
    for port in service["ports"].as_array().into_iter().flatten() {
        want(port["host_ip"] == "127.0.0.1", "a port is open to other machines");
    }
    for (other, on) in service["depends_on"].as_object().into_iter().flatten() {
        let condition = on["condition"].as_str().unwrap_or_default();
        let sound = ["service_healthy", "service_completed_successfully"].contains(&condition);
        want(sound, &format!("waits for {other} only to be started"));
    }
}

/// A password is in a file, and what names that file may say so.
fn secretive(name: &str, service: &Value, want: &mut impl FnMut(bool, &str)) {
    if SIMULATED.contains(&name) {
        return;
    }
    for (variable, value) in service["environment"].as_object().into_iter().flatten() {
        let telling = ["PASSWORD", "PWD", "SECRET", "TOKEN"]
            .iter()
            .any(|word| variable.contains(word));
        let set = value.as_str().is_some_and(|value| !value.is_empty());
        want(
            !telling || variable.ends_with("_FILE") || !set,
            &format!("{variable} is in its environment"),
        );
    }
}

fn networks(project: &Value, services: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in services {
        for network in service["networks"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(network, _)| network)
        {
            members.entry(network).or_default().insert(name);
        }
    }
    for (network, found) in &members {
        let Some((_, internal, expected)) = NETWORKS.iter().find(|(name, ..)| name == network) else {
            broken.push(format!("network {network}: nobody said who is to be on it"));
            continue;
        };
        if !found.iter().eq(expected.iter()) {
            broken.push(format!(
                "network {network}: has {found:?}, should have {expected:?}"
            ));
        }
        if (project["networks"][*network]["internal"] == true) != *internal {
            broken.push(format!("network {network}: `internal` should be {internal}"));
        }
    }
    let missing = NETWORKS.iter().filter(|(name, ..)| !members.contains_key(name));
    broken.extend(missing.map(|(name, ..)| format!("network {name}: nobody is on it")));
    broken
}

/// `name:tag` or `name@digest`, where the tag is not one that moves.
fn is_pinned(image: &str) -> bool {
    if image.contains("@sha256:") {
        return true;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    let Some((_, tag)) = last.split_once(':') else {
        return false;
    };
    tag.contains('.') || tag.contains("RELEASE")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sound() -> Value {
        json!({
            "image": "postgres:15.14", "healthcheck": {"test": ["CMD", "true"]}, "read_only": true, "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"], "mem_limit": "1", "pids_limit": 1,
            "networks": {"edge": null}, "environment": {"PASSWORD_FILE": "/x", "TOKEN": null},
        })
    }

    fn of_gateway(service: &Value) -> Vec<String> {
        let project = json!({"services": {"gateway": service}, "networks": {"edge": {}}});
        let mut lines = broken(&project);
        lines.retain(|line| !line.ends_with("nobody is on it"));
        lines
    }

    #[test]
    fn a_sound_service_breaks_nothing() {
        assert_eq!(of_gateway(&sound()), Vec::<String>::new());
    }

    #[test]
    fn every_rule_can_be_broken() {
        let faults = [
            ("image", json!("postgres"), "no exact tag"),
            ("image", json!("registry:5000/postgres:latest"), "no exact tag"),
            ("healthcheck", Value::Null, "no health check"),
            ("read_only", json!(false), "read-only"),
            ("cap_drop", json!(["NET_RAW"]), "keeps capabilities"),
            ("cap_add", json!(["SYS_ADMIN"]), "given capabilities"),
            ("privileged", json!(true), "given capabilities"),
            ("security_opt", json!([]), "gain privileges"),
            ("mem_limit", Value::Null, "memory"),
            ("pids_limit", Value::Null, "processes"),
            ("network_mode", json!("host"), "network_mode"),
            (
                "volumes",
                json!([{"type": "bind", "source": "/var/run/docker.sock", "read_only": true}]),
                "socket",
            ),
            (
                "volumes",
                json!([{"type": "bind", "source": "/etc"}]),
                "to be written",
            ),
            (
                "ports",
                json!([{"published": "8080", "target": 8080}]),
                "other machines",
            ),
            (
                "depends_on",
                json!({"opa": {"condition": "service_started"}}),
                "only to be started",
            ),
            (
                "environment",
                json!({"POSTGRES_PASSWORD": "carapulse"}),
                "POSTGRES_PASSWORD",
            ),
            (
                "networks",
                json!({"edge": null, "sandbox": null}),
                "network sandbox: has",
            ),
            ("networks", json!({"edge": null, "default": null}), "nobody said"),
        ];
        for (key, value, expected) in faults {
            let mut service = sound();
            service[key] = value;
            let lines = of_gateway(&service);
            assert!(
                lines.iter().any(|line| line.contains(expected)),
                "{key}: {lines:?}"
            );
        }
    }

    #[test]
    fn only_the_tool_router_shares_a_network_with_the_sandbox() {
        let with: Vec<_> = NETWORKS
            .iter()
            .filter(|(_, _, members)| members.contains(&"sandbox"))
            .collect();
        assert_eq!(with, [&("sandbox", true, &["sandbox", "tool-router"][..])]);
        let outside: Vec<_> = NETWORKS
            .iter()
            .filter(|(_, internal, members)| !internal && members.contains(&"tool-router"))
            .collect();
        assert_eq!(outside.len(), 1, "one way to managed systems: {outside:?}");
    }
}
