//! `cargo xtask chart pods`: the pods that the chart renders, run by podman with the real images and a real Postgres.
//!
//! In: images `localhost/carapulse/<role>:dev` (`cargo xtask images build`). Out: the migration succeeds; every role passes the
//! probes of its own Deployment, asked as a kubelet asks them; the first administrator's token works; the chart's own test passes.
//! What podman does not know is done for it, and only that: see `manifest`. No network policy is enforced here.

mod manifest;
mod stage;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::helm::{find, text};
use crate::report::{capture, say, step};
use stage::Stage;

/// In the order in which they can become ready.
const ROLES: [&str; 4] = ["sandbox", "tool-router", "orchestrator", "gateway"];

/// A probe passes within this.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs it; everything that was started is removed at the end, however it ends.
pub fn run(tag: &str) -> Result<()> {
    let stage = Stage::new(tag)?;
    let rendered = stage.render(tag)?;
    step("the migration, on an empty database", || {
        let job = find(&rendered, "Job", "carapulse-migration")?;
        stage.play(&rendered, job)?;
        stage.ends_well("carapulse-migration", "migrate")
    })?;
    for role in ROLES {
        stage.play(
            &rendered,
            find(&rendered, "Deployment", &format!("carapulse-{role}"))?,
        )?;
    }
    for role in ROLES {
        step(&format!("{role}: its probes"), || probes(&stage, &rendered, role))?;
    }
    step("the first administrator", || first_administrator(&stage))?;
    step("the chart's own test", || {
        let job = find(&rendered, "Job", "carapulse-test")?;
        stage.play(&rendered, job)?;
        for container in containers(job)? {
            stage.ends_well("carapulse-test", text(container, "name"))?;
        }
        Ok(())
    })?;
    say("the rendered pods run: migrated, ready by their own probes, confined as the chart says");
    Ok(())
}

/// Startup, liveness and readiness, as the Deployment has them; and what the container may do.
fn probes(stage: &Stage, rendered: &[Value], role: &str) -> Result<()> {
    let name = format!("carapulse-{role}");
    let deployment = find(rendered, "Deployment", &name)?;
    let container = containers(deployment)?.first().context("a container")?;
    for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let (port, path) = asked(container, kind).with_context(|| format!("{role}: {kind}"))?;
        until(stage, role, kind, || {
            stage.get(role, port, path, None).map(|(status, _)| status == 200)
        })?;
    }
    let status = stage.exec(role, &["cat", "/proc/1/status"])?;
    for wanted in [
        "Uid:\t10001\t10001\t10001\t10001",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        ensure!(
            status.contains(wanted),
            "{role}: its process has no `{wanted}`:\n{status}"
        );
    }
    ensure!(
        stage.exec(role, &["touch", "/usr/local/bin/written"]).is_err(),
        "{role}: its root can be written"
    );
    Ok(())
}

/// Port and path of a probe over HTTP; a port by its name is looked up as a kubelet does.
fn asked<'a>(container: &'a Value, kind: &str) -> Result<(u16, &'a str)> {
    let get = container
        .pointer(&format!("/{kind}/httpGet"))
        .context("no probe over HTTP")?;
    let ports = container["ports"].as_array().context("no ports")?;
    let port = ports
        .iter()
        .find(|port| port["name"] == get["port"])
        .context("its port has no name of the container's")?;
    let number = port["containerPort"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .context("no number")?;
    Ok((number, text(get, "path")))
}

/// As docs/kubernetes.md and the release's notes say.
fn first_administrator(stage: &Stage) -> Result<()> {
    let made = [
        "/usr/local/bin/carapulse",
        "token",
        "create",
        "--actor",
        "ada",
        "--role",
        "admin",
        "--person",
        "Ada",
    ];
    let token = stage.exec("gateway", &made)?;
    let (refused, _) = stage.get("gateway", 8080, "/v1/plans", None)?;
    ensure!(refused == 401, "without a token: {refused}, expected 401");
    let (status, body) = stage.get("gateway", 8080, "/v1/plans", Some(token.trim()))?;
    ensure!(status == 200, "with the administrator's token: {status}: {body}");
    Ok(())
}

fn containers(object: &Value) -> Result<&Vec<Value>> {
    object
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)
        .context("no containers")
}

fn until(stage: &Stage, role: &str, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = match holds() {
            Ok(true) => return Ok(()),
            Ok(false) => "another status than 200".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            bail!(
                "{role}: {what} does not pass ({last}); its log:\n{}",
                stage.log(role)
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// A program's output, without the line break at its end.
fn line(command: &mut std::process::Command) -> Result<String> {
    Ok(capture(command)?.trim().to_owned())
}
