//! What is asserted of rendered objects.

use anyhow::{Result, bail};
use serde_json::{Value, json};

const JOB: &str = "migration";

pub fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("without a name")
}

/// The object is of this part: by its label, else by the end of its name.
pub fn is_called(object: &Value, wanted: &str) -> bool {
    let label = object.pointer("/metadata/labels/app.kubernetes.io~1component");
    label.and_then(Value::as_str) == Some(wanted) || name(object).contains(wanted)
}

/// Pod specifications of what the chart keeps running and of its Jobs; those of `helm test` left out.
fn pods(objects: &[Value]) -> impl Iterator<Item = (&Value, &Value)> {
    let kinds = ["Deployment", "StatefulSet", "Job"];
    let owners = objects
        .iter()
        .filter(move |object| kinds.iter().any(|kind| object["kind"] == *kind));
    let owners = owners.filter(|owner| !annotation(owner, "hook").starts_with("test"));
    owners.filter_map(|owner| Some((owner, owner.pointer("/spec/template/spec")?)))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|key| pod[key].as_array().into_iter().flatten())
}

pub fn probes(objects: &[Value]) -> Result<()> {
    for (owner, pod) in pods(objects).filter(|(owner, _)| owner["kind"] != "Job") {
        for container in pod["containers"].as_array().into_iter().flatten() {
            for probe in ["livenessProbe", "readinessProbe"] {
                if !container[probe].is_object() {
                    bail!("{} has no {probe}", name(owner));
                }
            }
        }
    }
    Ok(())
}

pub fn confined(objects: &[Value]) -> Result<()> {
    for (owner, pod) in pods(objects) {
        let wanted = [
            ("/runAsNonRoot", json!(true)),
            ("/runAsUser", json!(10001)),
            ("/fsGroup", json!(10001)),
            ("/seccompProfile/type", json!("RuntimeDefault")),
        ];
        for (pointer, value) in wanted {
            if pod["securityContext"].pointer(pointer) != Some(&value) {
                bail!("{}: the pod's {pointer} is not {value}", name(owner));
            }
        }
        for container in containers(pod) {
            let wanted = [
                ("/readOnlyRootFilesystem", json!(true)),
                ("/allowPrivilegeEscalation", json!(false)),
                ("/capabilities/drop", json!(["ALL"])),
            ];
            for (pointer, value) in wanted {
                if container["securityContext"].pointer(pointer) != Some(&value) {
                    bail!("{}: a container's {pointer} is not {value}", name(owner));
                }
            }
        }
    }
    Ok(())
}

pub fn tmp(objects: &[Value]) -> Result<()> {
    for (owner, pod) in pods(objects) {
        for container in containers(pod) {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            let mount = mounts.clone().find(|mount| mount["mountPath"] == "/tmp");
            let volume = mount.and_then(|mount| {
                let mut volumes = pod["volumes"].as_array().into_iter().flatten();
                volumes.find(|volume| volume["name"] == mount["name"])
            });
            if !volume.is_some_and(|volume| volume["emptyDir"].is_object()) {
                bail!("{}: /tmp is no emptyDir", name(owner));
            }
        }
    }
    Ok(())
}

pub fn no_configuration_in_config_maps(objects: &[Value]) -> Result<()> {
    let mut in_secrets = false;
    for secret in of_kind(objects, "Secret") {
        in_secrets |= ["data", "stringData"]
            .iter()
            .any(|key| secret[key].get("carapulse.toml").is_some());
    }
    if pods(objects).next().is_some() && !in_secrets {
        bail!("no Secret holds carapulse.toml");
    }
    for map in of_kind(objects, "ConfigMap") {
        if map["data"].get("carapulse.toml").is_some() {
            bail!("the ConfigMap {} holds the configuration", name(map));
        }
    }
    Ok(())
}

pub fn summed(objects: &[Value]) -> Result<()> {
    for owner in of_kind(objects, "Deployment").chain(of_kind(objects, "StatefulSet")) {
        if owner
            .pointer("/spec/template/metadata/annotations/checksum~1config")
            .is_none()
        {
            bail!("{} has no checksum/config", name(owner));
        }
    }
    Ok(())
}

pub fn whole_directories(objects: &[Value]) -> Result<()> {
    for (owner, pod) in pods(objects) {
        for container in containers(pod) {
            let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if mounts.any(|mount| mount.get("subPath").is_some() || mount.get("subPathExpr").is_some()) {
                bail!("{} mounts by subPath", name(owner));
            }
        }
    }
    Ok(())
}

/// Cluster-wide rights read, and never Secrets. What a namespace was opted in for may write there, in a Role.
pub fn read_only(objects: &[Value]) -> Result<()> {
    let roles = of_kind(objects, "ClusterRole").chain(of_kind(objects, "Role"));
    for role in roles {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |key: &str| -> Vec<String> {
                let list = rule[key].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            if words("resources")
                .iter()
                .any(|resource| resource == "secrets" || resource == "*")
            {
                bail!("{} reaches Secrets", name(role));
            }
            let writes = words("verbs")
                .iter()
                .any(|verb| !["get", "list", "watch"].contains(&verb.as_str()));
            if writes && role["kind"] == "ClusterRole" {
                bail!("{} writes in the whole cluster", name(role));
            }
        }
    }
    Ok(())
}

pub fn accounts_apart(objects: &[Value]) -> Result<()> {
    let mut seen = std::collections::BTreeMap::new();
    for (owner, pod) in pods(objects) {
        let account = pod["serviceAccountName"].as_str().unwrap_or_default();
        if account.is_empty() {
            bail!("{} names no account", name(owner));
        }
        if let Some(other) = seen.insert(account, name(owner))
            && account != "default"
        {
            bail!("{other} and {} share the account {account}", name(owner));
        }
    }
    Ok(())
}

/// No policy lets everything out, and one denies what no other allows.
pub fn closed(objects: &[Value]) -> Result<()> {
    let policies: Vec<&Value> = of_kind(objects, "NetworkPolicy").collect();
    for policy in &policies {
        let rules = policy
            .pointer("/spec/egress")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for rule in rules {
            let to_anywhere = rule["to"].as_array().is_none_or(Vec::is_empty);
            let by_any_port = rule["ports"].as_array().is_none_or(Vec::is_empty);
            if to_anywhere && by_any_port {
                bail!("{} lets everything out", name(policy));
            }
        }
        let types = policy.pointer("/spec/policyTypes").and_then(Value::as_array);
        if !types.is_some_and(|types| types.contains(&json!("Egress"))) {
            bail!("{} says nothing of egress", name(policy));
        }
    }
    Ok(())
}

pub fn no_dsn_in_the_open(objects: &[Value]) -> Result<()> {
    for (owner, pod) in pods(objects) {
        for container in containers(pod) {
            let mut values = container["env"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|env| env["value"].as_str());
            if values.any(|value| value.contains("postgres://") && value.contains('@')) {
                bail!("{} shows a DSN in its environment", name(owner));
            }
        }
        if owner["kind"] == "Job" && !serde_json::to_string(pod)?.contains("postgres-dsn") {
            bail!("{} takes no postgres-dsn from a Secret", name(owner));
        }
    }
    Ok(())
}

fn job(objects: &[Value]) -> Option<&Value> {
    of_kind(objects, "Job").find(|job| is_called(job, JOB))
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    let value = object.pointer(&format!("/metadata/annotations/helm.sh~1{key}"));
    value.and_then(Value::as_str).unwrap_or_default()
}

pub fn hook(objects: &[Value]) -> Result<()> {
    let Some(job) = job(objects) else { return Ok(()) };
    let found = ["hook", "hook-weight", "hook-delete-policy"].map(|key| annotation(job, key));
    if found != ["pre-install,pre-upgrade", "-5", "before-hook-creation"] {
        bail!("the migration Job is the hook {found:?}");
    }
    Ok(())
}

pub fn three_tries(objects: &[Value]) -> Result<()> {
    match job(objects) {
        Some(job) if job.pointer("/spec/backoffLimit") != Some(&json!(3)) => bail!("backoffLimit is not 3"),
        _ => Ok(()),
    }
}

/// Its account and the Secrets that the chart makes for it are hooks, too, and earlier ones.
pub fn needs_come_first(objects: &[Value]) -> Result<()> {
    let Some(job) = job(objects) else { return Ok(()) };
    let pod = serde_json::to_string(&job["spec"])?;
    let account = job.pointer("/spec/template/spec/serviceAccountName");
    let account = account.and_then(Value::as_str).unwrap_or_default();
    let needed = of_kind(objects, "ServiceAccount").filter(|object| name(object) == account);
    let secrets = of_kind(objects, "Secret").filter(|secret| pod.contains(&format!("\"{}\"", name(secret))));
    for object in needed.chain(secrets) {
        let weight: i64 = annotation(object, "hook-weight").parse().unwrap_or(0);
        if !annotation(object, "hook").contains("pre-install") || weight >= -5 {
            bail!("{} does not exist when the migration Job starts", name(object));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = "
kind: Deployment
metadata: { name: x-gateway }
spec:
  template:
    metadata: { annotations: { checksum/config: abc } }
    spec:
      serviceAccountName: x-gateway
      securityContext: { runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: gateway
          livenessProbe: { httpGet: {} }
          readinessProbe: { httpGet: {} }
          securityContext:
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
          volumeMounts: [{ name: tmp, mountPath: /tmp }, { name: config, mountPath: /etc/carapulse }]
      volumes: [{ name: tmp, emptyDir: {} }]
";

    const JOB_TEXT: &str = "
kind: Job
metadata:
  name: x-migration
  annotations: { helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-5', helm.sh/hook-delete-policy: before-hook-creation }
spec:
  backoffLimit: 3
  template:
    spec:
      serviceAccountName: x-migration
      containers: [{ name: m, env: [{ name: DSN, valueFrom: { secretKeyRef: { name: x-owner, key: postgres-dsn } } }] }]
---
kind: Secret
metadata:
  name: x-owner
  annotations: { helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-15' }
";

    const POLICY: &str = "
kind: NetworkPolicy
metadata: { name: x }
spec: { policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 10.0.0.0/8 } }], ports: [{ port: 5432 }] }] }
";

    const ROLE: &str = "
kind: ClusterRole
metadata: { name: r }
rules: [{ resources: [pods], verbs: [get, list, watch] }]
";

    fn objects(text: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(text).expect("YAML")
    }

    /// The check passes, and fails once the text says something else.
    fn finds(check: fn(&[Value]) -> Result<()>, text: &str, from: &str, to: &str) {
        assert!(text.contains(from), "{from}");
        check(&objects(text)).expect("as it must be");
        assert!(check(&objects(&text.replace(from, to))).is_err(), "{from} → {to}");
    }

    #[test]
    fn a_workload_without_probes_is_found() {
        finds(probes, DEPLOYMENT, "livenessProbe", "noProbe");
        finds(probes, DEPLOYMENT, "readinessProbe: { httpGet: {} }", "other: 1");
    }

    #[test]
    fn a_pod_with_more_rights_is_found() {
        finds(confined, DEPLOYMENT, "runAsUser: 10001", "runAsUser: 0");
        finds(confined, DEPLOYMENT, "seccompProfile", "other");
        finds(confined, DEPLOYMENT, "drop: [ALL]", "drop: []");
        finds(
            confined,
            DEPLOYMENT,
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
        );
    }

    #[test]
    fn mounts_that_are_wrong_are_found() {
        finds(tmp, DEPLOYMENT, "emptyDir: {}", "hostPath: { path: /tmp }");
        finds(
            whole_directories,
            DEPLOYMENT,
            "mountPath: /etc/carapulse",
            "subPath: a, mountPath: /etc/carapulse",
        );
        finds(summed, DEPLOYMENT, "checksum/config", "other");
    }

    #[test]
    fn configuration_in_a_config_map_is_found() {
        let text = format!(
            "{DEPLOYMENT}---\nkind: Secret\nmetadata: {{ name: s }}\nstringData: {{ carapulse.toml: x }}\n"
        );
        finds(
            no_configuration_in_config_maps,
            &text,
            "kind: Secret",
            "kind: ConfigMap",
        );
        let both = format!("{text}---\nkind: ConfigMap\nmetadata: {{ name: c }}\ndata: {{ other: x }}\n");
        finds(
            no_configuration_in_config_maps,
            &both,
            "data: { other",
            "data: { carapulse.toml",
        );
    }

    #[test]
    fn rights_that_grew_are_found() {
        finds(read_only, ROLE, "resources: [pods]", "resources: [pods, secrets]");
        finds(read_only, ROLE, "watch]", "watch, patch]");
        let two = format!("{DEPLOYMENT}---{}", DEPLOYMENT.replace("x-gateway", "x-agent"));
        finds(
            accounts_apart,
            &two,
            "serviceAccountName: x-agent",
            "serviceAccountName: x-gateway",
        );
    }

    #[test]
    fn open_egress_is_found() {
        finds(
            closed,
            POLICY,
            "egress: [{ to: [{ ipBlock: { cidr: 10.0.0.0/8 } }], ports: [{ port: 5432 }] }]",
            "egress: [{}]",
        );
        finds(closed, POLICY, "policyTypes: [Egress]", "policyTypes: [Ingress]");
    }

    #[test]
    fn a_migration_job_that_would_fail_is_found() {
        finds(
            hook,
            JOB_TEXT,
            "helm.sh/hook-weight: '-5'",
            "helm.sh/hook-weight: '5'",
        );
        finds(three_tries, JOB_TEXT, "backoffLimit: 3", "backoffLimit: 6");
        finds(
            needs_come_first,
            JOB_TEXT,
            "helm.sh/hook-weight: '-15'",
            "helm.sh/hook-weight: '0'",
        );
        finds(
            no_dsn_in_the_open,
            JOB_TEXT,
            "valueFrom: { secretKeyRef: { name: x-owner, key: postgres-dsn } }",
            "value: 'postgres://a:b@c/d'",
        );
    }
}
