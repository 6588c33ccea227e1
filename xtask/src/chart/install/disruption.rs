//! Evictions against disruption budgets, with the values for high availability.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chart::cluster::OnCluster;
use crate::chart::helm::text;
use crate::report::say;

const NAMESPACE: &str = "disruption";

/// No node takes new pods while this asks: what was evicted cannot be replaced, and the budget is used up.
pub fn run(on: &OnCluster<'_>) -> Result<()> {
    on.namespace(NAMESPACE)?;
    on.secrets(NAMESPACE)?;
    on.helm(&[
        "install",
        "carapulse",
        ".",
        "--namespace",
        NAMESPACE,
        "--values",
        "values-ha.yaml",
        "--set",
        "metrics.serviceMonitor.enabled=false",
        "--set",
        "metrics.prometheusRule.enabled=false",
        "--wait",
        "--timeout",
        "120s",
    ])?;
    for (role, spare) in [("gateway", 1), ("tool-router", 1), ("orchestrator", 1)] {
        let name = format!("carapulse-{role}");
        on.wait_for(&format!("the budget of the {role}"), || {
            Ok(on.get("poddisruptionbudget", NAMESPACE, &name)?["status"]["disruptionsAllowed"] == spare)
        })?;
    }
    on.kubectl(&["cordon", "--selector", "kubernetes.io/os=linux"])?;
    let result = evict_two(on);
    on.kubectl(&["uncordon", "--selector", "kubernetes.io/os=linux"])?;
    result?;
    on.helm(&["uninstall", "carapulse", "--namespace", NAMESPACE, "--wait"])
        .map(drop)
}

fn evict_two(on: &OnCluster<'_>) -> Result<()> {
    for role in ["gateway", "tool-router", "orchestrator"] {
        let pods: Vec<String> = on
            .list("pods", NAMESPACE)?
            .iter()
            .filter(|pod| {
                pod.pointer("/metadata/labels/app.kubernetes.io~1component")
                    .and_then(Value::as_str)
                    == Some(role)
            })
            .map(|pod| text(pod, "metadata/name").to_owned())
            .collect();
        ensure!(pods.len() >= 2, "{role}: {pods:?}");
        evict(on, &pods[0]).with_context(|| format!("{role}: the first eviction"))?;
        let path = eviction(&pods[1]);
        let file = body(on, &pods[1])?;
        let said = on.kubectl_refusal(&["create", "--raw", &path, "--filename", &file])?;
        ensure!(
            said.contains("disruption budget"),
            "{role}: refused, but not by the budget: {said}"
        );
    }
    say("of each role with a budget one pod is evicted, and the next is refused (429)");
    Ok(())
}

fn evict(on: &OnCluster<'_>, pod: &str) -> Result<()> {
    let file = body(on, pod)?;
    on.kubectl(&["create", "--raw", &eviction(pod), "--filename", &file])
        .map(drop)
}

fn eviction(pod: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction")
}

fn body(on: &OnCluster<'_>, pod: &str) -> Result<String> {
    let file = on.folder.join("eviction.json");
    let body = format!(
        "{{\"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {{\"name\": \"{pod}\", \"namespace\": \"{NAMESPACE}\"}}}}"
    );
    std::fs::write(&file, body)?;
    Ok(file.display().to_string())
}
