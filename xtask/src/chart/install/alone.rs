//! Each role a release of its own, as `chart/examples/five` shows.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chart::cluster::OnCluster;
use crate::chart::helm::text;
use crate::report::say;

const NAMESPACE: &str = "five";
const ROLES: [&str; 5] = ["gateway", "tool-router", "orchestrator", "sandbox", "agent"];

/// Installs the five, upgrades one, removes one.
pub fn run(on: &OnCluster<'_>) -> Result<()> {
    on.namespace(NAMESPACE)?;
    on.secrets(NAMESPACE)?;
    // Slack's two secrets are no keys that anybody could make up.
    on.kubectl(&[
        "create",
        "secret",
        "generic",
        "carapulse-agent",
        "--namespace",
        NAMESPACE,
        "--from-literal=gateway_token=t",
        "--from-literal=slack_signing_secret=s",
    ])?;
    for role in ROLES {
        release(on, "install", role, &[]).with_context(|| role.to_owned())?;
    }
    let up = images(on)?;
    ensure!(up.len() == ROLES.len(), "deployments: {up:?}");
    let jobs = on.names("jobs", NAMESPACE)?;
    ensure!(
        jobs == ["carapulse-migration"],
        "only the gateway's release migrates: {jobs:?}"
    );

    release(
        on,
        "upgrade",
        "orchestrator",
        &["--set", "orchestrator.image.tag=0.1.1"],
    )?;
    for ((name, before), (_, after)) in up.iter().zip(&images(on)?) {
        let moved = name == "carapulse-orchestrator";
        ensure!((before != after) == moved, "{name}: {before} became {after}");
    }
    release(on, "upgrade", "gateway", &["--set", "gateway.replicaCount=3"])?;
    on.helm(&["uninstall", "carapulse-agent", "--namespace", NAMESPACE, "--wait"])?;
    let left = images(on)?;
    ensure!(left.len() == ROLES.len() - 1, "the others stay: {left:?}");
    say("five releases: one upgraded, one scaled, one removed, the others untouched");
    Ok(())
}

fn release(on: &OnCluster<'_>, verb: &str, role: &str, more: &[&str]) -> Result<()> {
    let (name, own) = (format!("carapulse-{role}"), format!("examples/five/{role}.yaml"));
    let mut arguments = vec![
        verb,
        &name,
        ".",
        "--namespace",
        NAMESPACE,
        "--values",
        "examples/five/every.yaml",
        "--values",
        &own,
        "--wait",
        "--timeout",
        "120s",
    ];
    arguments.extend(more);
    on.helm(&arguments).map(drop)
}

/// `(deployment, image)`, by name.
fn images(on: &OnCluster<'_>) -> Result<Vec<(String, String)>> {
    let mut images: Vec<(String, String)> = on
        .list("deployments", NAMESPACE)?
        .iter()
        .map(|deployment: &Value| {
            let image = text(deployment, "spec/template/spec/containers/0/image");
            (text(deployment, "metadata/name").to_owned(), image.to_owned())
        })
        .collect();
    images.sort();
    Ok(images)
}
