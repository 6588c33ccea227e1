//! `cargo xtask chart lint`: `helm lint --strict` over the matrix, and the values that must be refused.

use anyhow::{Result, bail};
use serde_json::Value;

use super::helm::{Helm, KUBE_VERSION, objects, text};
use super::matrix;
use crate::report::say;

/// Runs it; all that is wrong is named, not only the first.
pub fn run() -> Result<()> {
    let helm = Helm::find()?;
    let mut wrong = Vec::new();
    let entries = matrix::entries()?;
    for entry in &entries {
        wrong.extend(helm.lint(entry).err().map(|error| format!("{error:#}")));
        let rendered = objects(&helm.template(entry, KUBE_VERSION)?)?;
        wrong.extend(unsafe_pods(&rendered).map(|problem| format!("{}: {problem}", entry.name)));
    }
    let refused = matrix::refused()?;
    for (entry, expected) in &refused {
        let said = helm.refusal(entry)?;
        if !said.contains(expected.as_str()) {
            wrong.push(format!(
                "{}: refused, but not because of `{expected}`: {}",
                entry.name,
                said.trim()
            ));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    say(&format!(
        "chart: {} sets of values pass helm lint --strict, {} are refused as they should be",
        entries.len(),
        refused.len()
    ));
    Ok(())
}

/// What the chart promises of every pod: on top of what the restricted Pod Security Standard asks (the API server checks that), the root is
/// read-only, no token is mounted, no service link becomes a variable, every container has limits, every volume is a whole directory.
fn unsafe_pods(objects: &[Value]) -> impl Iterator<Item = String> {
    let pods = objects
        .iter()
        .filter_map(|object| Some((object, object.pointer("/spec/template/spec")?)));
    let problems = pods.flat_map(|(object, pod)| {
        let of = format!("{} {}", text(object, "kind"), text(object, "metadata/name"));
        problems(pod)
            .into_iter()
            .map(move |problem| format!("{of}: {problem}"))
    });
    problems.collect::<Vec<_>>().into_iter()
}

fn problems(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for flag in ["automountServiceAccountToken", "enableServiceLinks"] {
        if pod[flag] != Value::Bool(false) {
            found.push(format!("{flag} is not false"));
        }
    }
    for container in pod["containers"].as_array().into_iter().flatten() {
        let name = text(container, "name");
        let security = &container["securityContext"];
        if security["readOnlyRootFilesystem"] != Value::Bool(true) {
            found.push(format!("{name}: its root can be written"));
        }
        if container.pointer("/resources/limits/memory").is_none() {
            found.push(format!("{name}: no limit of memory"));
        }
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        found.extend(
            mounts
                .filter(|mount| mount.get("subPath").is_some())
                .map(|mount| {
                    format!(
                        "{name}: {} is mounted by subPath, and never refreshed",
                        text(mount, "name")
                    )
                }),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_promised_of_pods_is_looked_at() {
        let good = json!({"automountServiceAccountToken": false, "enableServiceLinks": false, "containers": [
            {"name": "a", "securityContext": {"readOnlyRootFilesystem": true}, "resources": {"limits": {"memory": "1Gi"}},
             "volumeMounts": [{"name": "config", "mountPath": "/etc"}]}]});
        assert_eq!(problems(&good), Vec::<String>::new());
        let bad =
            json!({"containers": [{"name": "a", "volumeMounts": [{"name": "config", "subPath": "x"}]}]});
        assert_eq!(problems(&bad).len(), 5, "{:?}", problems(&bad));
    }
}
