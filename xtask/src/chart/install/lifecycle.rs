//! One release from the first install to its end.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::watch::{Seen, Watches};
use crate::chart::cluster::OnCluster;
use crate::chart::helm::text;
use crate::report::say;

const NAMESPACE: &str = "carapulse";
const ROLES: [&str; 4] = ["gateway", "orchestrator", "sandbox", "tool-router"];

/// Everything that happens to a release.
pub fn run(on: &OnCluster<'_>) -> Result<()> {
    on.namespace(NAMESPACE)?;
    missing_secrets_are_named(on)?;
    first_install(on)?;
    on.helm(&["test", "carapulse", "--namespace", NAMESPACE, "--timeout", "90s"])?;
    upgrade_of_one_role(on)?;
    failed_upgrade(on)?;
    rollback(on)?;
    uninstall(on)
}

/// Before anything is made, and not by pods that wait for it.
fn missing_secrets_are_named(on: &OnCluster<'_>) -> Result<()> {
    on.wait_for("the namespace's own ConfigMap", || {
        Ok(on
            .names("configmaps", NAMESPACE)?
            .iter()
            .any(|name| name == "kube-root-ca.crt"))
    })?;
    let said = on.helm_refusal(&["install", "carapulse", ".", "--namespace", NAMESPACE])?;
    ensure!(
        said.contains("carapulse-gateway, carapulse-orchestrator"),
        "the refusal names no Secrets: {said}"
    );
    ensure!(
        on.names("deployments", NAMESPACE)?.is_empty(),
        "something was installed"
    );
    Ok(())
}

/// With the Secrets among the values: the release makes everything itself, in the right order, in an empty namespace.
fn first_install(on: &OnCluster<'_>) -> Result<()> {
    let watches = Watches::start(
        on,
        NAMESPACE,
        &[
            "serviceaccounts",
            "secrets",
            "networkpolicies",
            "jobs",
            "deployments",
        ],
    )?;
    let values = on.secret_values();
    let installed = on.helm(&[
        "install",
        "carapulse",
        ".",
        "--namespace",
        NAMESPACE,
        "--values",
        &values,
        "--wait",
        "--timeout",
        "120s",
    ]);
    let seen = watches.stop()?;
    installed?;
    order_of_the_hooks(&seen)?;
    let up = on.names("deployments", NAMESPACE)?;
    ensure!(
        up == ROLES.map(|role| format!("carapulse-{role}")),
        "deployments: {up:?}"
    );
    let left = on.names("secrets", NAMESPACE)?;
    ensure!(
        !left.iter().any(|name| name.starts_with("carapulse-migration")),
        "the owner's password is still there: {left:?}"
    );
    let pods = on.list("pods", NAMESPACE)?;
    ensure!(pods.len() > ROLES.len(), "no pod was admitted");
    say(
        "installed into an empty namespace that enforces the restricted standard; the owner's password is gone again",
    );
    Ok(())
}

/// Account < Secrets and policy < Job < its end < whatever the release is made of.
fn order_of_the_hooks(seen: &Seen) -> Result<()> {
    let made = |name: &str| -> Result<u64> {
        let states = seen.get(name).with_context(|| format!("{name} was never made"))?;
        Ok(states.first().map_or(0, |(version, _)| *version))
    };
    let job = seen.get("Job/carapulse-migration").context("no migration ran")?;
    let succeeded = job
        .iter()
        .find(|(_, event)| event.pointer("/object/status/succeeded") == Some(&Value::from(1)));
    let (ended, _) = succeeded.context("the migration did not succeed")?;
    let order = [
        ("the account", made("ServiceAccount/carapulse-migration")?),
        ("its configuration", made("Secret/carapulse-migration-config")?),
        ("its network policy", made("NetworkPolicy/carapulse-migration")?),
        ("the Job", made("Job/carapulse-migration")?),
        ("its end", *ended),
        (
            "the first Secret of the release",
            made("Secret/carapulse-gateway-config")?,
        ),
        ("the gateway", made("Deployment/carapulse-gateway")?),
    ];
    ensure!(
        made("Secret/carapulse-migration")? < made("Job/carapulse-migration")?,
        "the Job came before the owner's password"
    );
    for pair in order.windows(2) {
        // Hooks of one weight are ordered by kind and name: only that they precede the Job matters.
        let of_one_weight = pair[0].0 == "its configuration";
        ensure!(
            of_one_weight || pair[0].1 < pair[1].1,
            "{} came before {}",
            pair[1].0,
            pair[0].0
        );
    }
    ensure!(
        order[2].1 < order[3].1 && order[1].1 < order[3].1,
        "the Job came before what it needs"
    );
    say(&format!(
        "hooks in order: {}",
        order
            .map(|(name, version)| format!("{name} ({version})"))
            .join(", ")
    ));
    Ok(())
}

/// Only the role whose configuration changed is replaced; the migration runs anew, before that.
fn upgrade_of_one_role(on: &OnCluster<'_>) -> Result<()> {
    let before = templates(on)?;
    let job = text(&on.get("job", NAMESPACE, "carapulse-migration")?, "metadata/uid").to_owned();
    upgrade(on, &["--set", "config.brake.plans_per_group=1"])?;
    let after = templates(on)?;
    for (role, (old, new)) in ROLES.iter().zip(before.iter().zip(&after)) {
        let expected = *role == "orchestrator";
        ensure!(
            (old != new) == expected,
            "{role}: replaced: {}, expected: {expected}",
            old != new
        );
    }
    let again = text(&on.get("job", NAMESPACE, "carapulse-migration")?, "metadata/uid").to_owned();
    ensure!(job != again, "the migration did not run before the upgrade");
    Ok(())
}

/// An image that cannot be pulled: `--atomic` takes it back, and the pods that served went on serving.
fn failed_upgrade(on: &OnCluster<'_>) -> Result<()> {
    let before = templates(on)?;
    let pods = ready_pods(on, "gateway")?;
    let values = on.secret_values();
    let said = on.helm_refusal(&[
        "upgrade",
        "carapulse",
        ".",
        "--namespace",
        NAMESPACE,
        "--values",
        &values,
        "--reuse-values",
        "--set",
        "gateway.image.tag=broken",
        "--set",
        "migration.image.tag=0.1.0",
        "--atomic",
        "--timeout",
        "15s",
    ])?;
    ensure!(said.contains("rolled back"), "not taken back: {said}");
    ensure!(
        templates(on)? == before,
        "the failed upgrade left something behind"
    );
    let still = ready_pods(on, "gateway")?;
    ensure!(
        pods.iter().all(|pod| still.contains(pod)),
        "a pod that served was replaced by nothing: {pods:?}, {still:?}"
    );
    Ok(())
}

fn rollback(on: &OnCluster<'_>) -> Result<()> {
    let before = templates(on)?;
    let job = text(&on.get("job", NAMESPACE, "carapulse-migration")?, "metadata/uid").to_owned();
    on.helm(&[
        "rollback",
        "carapulse",
        "1",
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "120s",
    ])?;
    let after = templates(on)?;
    ensure!(
        before[1] != after[1],
        "the orchestrator's configuration is still that of the second revision"
    );
    ensure!(
        before[0] == after[0],
        "the gateway was replaced, and nothing of it had changed"
    );
    let again = text(&on.get("job", NAMESPACE, "carapulse-migration")?, "metadata/uid").to_owned();
    ensure!(job == again, "a rollback must not touch the schema");
    Ok(())
}

fn uninstall(on: &OnCluster<'_>) -> Result<()> {
    on.helm(&["uninstall", "carapulse", "--namespace", NAMESPACE, "--wait"])?;
    for kind in [
        "deployments",
        "services",
        "networkpolicies",
        "poddisruptionbudgets",
        "ingresses",
    ] {
        let left = on.names(kind, NAMESPACE)?;
        ensure!(left.is_empty(), "{kind} are left: {left:?}");
    }
    // The keys, and nothing else: without them no approval and no checkpoint could be verified any more.
    let left = on.names("secrets", NAMESPACE)?;
    ensure!(
        left == ROLES.map(|role| format!("carapulse-{role}")),
        "Secrets are left: {left:?}"
    );
    Ok(())
}

fn upgrade(on: &OnCluster<'_>, more: &[&str]) -> Result<()> {
    let values = on.secret_values();
    let mut arguments = vec![
        "upgrade",
        "carapulse",
        ".",
        "--namespace",
        NAMESPACE,
        "--values",
        &values,
        "--reuse-values",
        "--wait",
        "--timeout",
        "120s",
    ];
    arguments.extend(more);
    on.helm(&arguments).map(drop)
}

/// The pod template of each role, in the order of `ROLES`.
fn templates(on: &OnCluster<'_>) -> Result<Vec<Value>> {
    let template = |role: &&str| {
        Ok(on.get("deployment", NAMESPACE, &format!("carapulse-{role}"))?["spec"]["template"].take())
    };
    ROLES.iter().map(template).collect()
}

fn ready_pods(on: &OnCluster<'_>, role: &str) -> Result<Vec<String>> {
    let ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let is_ready =
            |condition: &Value| text(condition, "type") == "Ready" && text(condition, "status") == "True";
        let label = pod
            .pointer("/metadata/labels/app.kubernetes.io~1component")
            .and_then(Value::as_str);
        label == Some(role) && conditions.is_some_and(|conditions| conditions.iter().any(is_ready))
    };
    let pods = on.list("pods", NAMESPACE)?;
    let names: Vec<String> = pods
        .iter()
        .filter(ready)
        .map(|pod| text(pod, "metadata/name").to_owned())
        .collect();
    if names.is_empty() {
        bail!("no pod of the {role} is ready");
    }
    Ok(names)
}
