//! `cargo xtask compose smoke`: the shipped configuration, up and at work.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{network, play, project::Project, relay, stand_ins};
use crate::kube;
use crate::report::{capture, say, step};

/// Its own, so that it disturbs no other.
pub const PROJECT: &str = "carapulse-smoke";

/// For one thing to come true: a scrape comes every 15 seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// Brings everything up, plays a plan, tries the networks, and takes it down again, unless it is to stay.
pub fn run(registry: &str, tag: &str, keep: bool) -> Result<()> {
    let project = Project::named(PROJECT, registry, tag)?.on_free_ports()?;
    say(&format!("engine: {}", project.engine.name()));
    let result = play_it(&project);
    if keep {
        say("left running; `cargo xtask compose down` takes it down");
        return result;
    }
    let down = project.down();
    result.and(down)
}

fn play_it(project: &Project) -> Result<()> {
    project.up(&[])?;
    step("profile observability: Prometheus", || watched(project))?;
    kube::with_cluster(|cluster| {
        let gateway = gateway_of(project, "managed")?;
        let address = relay::start(&gateway, play::api_address(cluster.kubeconfig())?)?;
        say(&format!(
            "managed system: a real Kubernetes API (its nodes are simulated), reached from the network `managed` at {address}"
        ));
        play::run(project, cluster, address)?;
        // Before anything is brought up beside: containers made anew count from nothing.
        step("OPA was asked what was decided, and said the same", || {
            agreed(project)
        })?;
        step("who reaches whom", || network::try_all(project, address))
    })?;
    step("profile chatops: the agent", || {
        let up = ["--profile", "chatops", "up", "--detach", "--wait", "agent"];
        capture(project.compose().args(up)).map(drop)
    })?;
    step("Prometheus scrapes all roles", || scraped(project))?;
    step("profile simulation: LocalStack's stand-in", || simulated(project))?;
    if project.engine.is_podman() {
        for (service, why) in stand_ins::NOT_HAD {
            say(&format!("NOT RUN: {service}: {why}"));
        }
    }
    Ok(())
}

/// This machine's own address on a network of the project.
fn gateway_of(project: &Project, network: &str) -> Result<String> {
    let name = format!("{}_{network}", project.name);
    let told = capture(project.engine.command().args(["network", "inspect", &name]))?;
    let told: Value = serde_json::from_str(&told)?;
    let paths = ["/0/IPAM/Config/0/Gateway", "/0/subnets/0/gateway"];
    let found = paths.iter().find_map(|path| told.pointer(path)?.as_str());
    Ok(found
        .with_context(|| format!("network {name} has no gateway"))?
        .to_owned())
}

/// How a job ended.
fn until_ended(project: &Project, service: &str) -> Result<String> {
    let ask = [
        "--profile",
        "simulation",
        "ps",
        "--all",
        "--format",
        "{{.Status}}",
        service,
    ];
    until(
        &format!("{service} ends"),
        |status: &String| status.starts_with("Exited"),
        || capture(project.compose().args(ask)),
    )
}

/// Prometheus is up, and scrapes those that are there without a profile.
fn watched(project: &Project) -> Result<()> {
    let up = [
        "--profile",
        "observability",
        "up",
        "--detach",
        "--wait",
        "prometheus",
    ];
    capture(project.compose().args(up))?;
    ask_until(project, "count(up{job=~\"opa|temporal\"} == 1)", "2")
}

/// Prometheus scrapes every role but the sandbox, which nobody but the tool-router reaches.
fn scraped(project: &Project) -> Result<()> {
    ask_until(project, "count(up{job=~\"carapulse-.*\"} == 1)", "4")?;
    ask_until(project, "count(carapulse_roles_build_info)", "4")
}

/// The shadow was asked about the plan's decisions, and neither differed nor failed.
fn agreed(project: &Project) -> Result<()> {
    ask_until(project, "sum(carapulse_policy_shadow_checks_total) > bool 0", "1")?;
    for never in ["differences", "errors"] {
        ask_until(
            project,
            &format!("sum(carapulse_policy_shadow_{never}_total) or vector(0)"),
            "0",
        )?;
    }
    Ok(())
}

fn ask_until(project: &Project, query: &str, wanted: &str) -> Result<()> {
    let program = ["promtool", "query", "instant", "http://127.0.0.1:9090", query];
    let is = format!("=> {wanted} @");
    until(
        &format!("`{query}` is {wanted}"),
        |said: &String| said.contains(&is),
        || project.exec("prometheus", &[], &program, b""),
    )
    .map(drop)
}

/// Asks until the answer is the one that is waited for.
fn until(what: &str, fits: impl Fn(&String) -> bool, ask: impl Fn() -> Result<String>) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = ask()?;
        if fits(&said) {
            return Ok(said);
        }
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {what}; the last answer: {said}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// The buckets are made. Vault is not to be had.
fn simulated(project: &Project) -> Result<()> {
    let up = [
        "--profile",
        "simulation",
        "up",
        "--detach",
        "--wait",
        "localstack",
    ];
    capture(project.compose().args(up))?;
    let up = [
        "--profile",
        "simulation",
        "up",
        "--detach",
        "--no-deps",
        "localstack-init",
    ];
    capture(project.compose().args(up))?;
    let status = until_ended(project, "localstack-init")?;
    let said = capture(
        project
            .compose()
            .args(["--profile", "simulation", "logs", "localstack-init"]),
    )?;
    if !status.contains("(0)") {
        bail!("localstack-init: {status}\n{said}");
    }
    for bucket in ["carapulse-artifacts", "carapulse-evidence"] {
        if !said.contains(bucket) {
            bail!("{bucket} was not made: {said}");
        }
    }
    Ok(())
}
