//! A plan through the stack, as people do it: with the command line, in the gateway's container.
//!
//! A real Kubernetes API server is the managed system. The orchestrator, in its container, asks the tool-router; that asks
//! the sandbox to run kubectl; the sandbox's only way there is the egress proxy in the tool-router.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::project::Project;
use crate::kube::Session;
use crate::report::{capture, say, step};

const NAMESPACE: &str = "shop";
/// Beside the tool-router's own secrets, as an operator would put it.
const CREDENTIAL: &str = "services/tool-router/secrets/kube_shop";
/// A name in the API server's certificate.
const SERVER_NAME: &str = "kubernetes.default.svc";

/// A person with a token, at the command line.
struct Person<'a> {
    project: &'a Project,
    token: String,
}

/// Registers the place, and plays: plan, approval by another person, execution, measured success, evidence.
pub fn run(project: &Project, cluster: &Session, address: SocketAddr) -> Result<()> {
    let kubectl = |arguments: &[&str]| capture(cluster.kubectl().args(arguments));
    kubectl(&["create", "namespace", NAMESPACE])?;
    kubectl(&[
        "--namespace",
        NAMESPACE,
        "create",
        "deployment",
        "checkout",
        "--image=registry.example/checkout:1",
        "--replicas=2",
    ])?;
    let config = for_the_network(&fs::read_to_string(cluster.kubeconfig())?, address)?;
    fs::write(project.local().join(CREDENTIAL), config)?;

    let (ada, grace) = step("tokens for two persons", || {
        Ok((
            Person::new(project, "ada", "Ada")?,
            Person::new(project, "grace", "Grace")?,
        ))
    })?;
    step("a target, proposed by one and confirmed by the other", || {
        register(&ada, &grace)
    })?;
    let (plan, digest) = step("a plan: scale checkout to 5", || {
        let made = ada.json(&[
            "plan",
            "create",
            "--target",
            NAMESPACE,
            "--intent",
            "scale checkout to 5",
        ])?;
        Ok((text(&made, "/plan_id")?, text(&made, "/plan/digest")?))
    })?;
    if ada
        .run(&["plan", "approve", &plan, "--digest", &digest, "--yes"])
        .is_ok()
    {
        bail!("the one who asked could approve");
    }
    step("approved by the other person", || {
        grace.run(&["plan", "approve", &plan, "--digest", &digest, "--yes"])
    })?;
    let execution = step("executed and measured", || {
        let ended = ada.json(&["plan", "execute", &plan, "--wait"])?;
        if text(&ended, "/status")? != "succeeded" {
            bail!("{ended}");
        }
        text(&ended, "/execution_id")
    })?;
    let replicas = kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "deployment",
        "checkout",
        "--output=jsonpath={.spec.replicas}",
    ])?;
    if replicas != "5" {
        bail!("the cluster has {replicas} replicas");
    }
    step("evidence, verified offline", || verify(project, &ada, &execution))?;
    say(&format!(
        "{plan} ran to success as {execution}; the cluster has 5 replicas"
    ));
    Ok(())
}

/// The public keys come from where the keys are; what is verified comes from the gateway.
fn verify(project: &Project, ada: &Person<'_>, execution: &str) -> Result<()> {
    let trust = project.exec("orchestrator", &[], &["carapulse", "audit", "trust"], b"")?;
    ada.run(&["evidence", "export", execution, "--file", "/tmp/evidence.tar"])?;
    let program = [
        "carapulse",
        "audit",
        "verify",
        "--bundle",
        "/tmp/evidence.tar",
        "--trust",
        "/dev/stdin",
    ];
    let said = project.exec("gateway", &[], &program, trust.as_bytes())?;
    if !said.contains("the bundle is proven") {
        bail!("{said}");
    }
    Ok(())
}

/// First as every target starts, then raised to `act`.
fn register(ada: &Person<'_>, grace: &Person<'_>) -> Result<()> {
    for mode in ["observe", "act"] {
        let file = format!(
            "name = \"{NAMESPACE}\"\nmode = \"{mode}\"\n[context]\nenvironment = \"staging\"\ncluster_id = \"smoke\"\n\
             namespace = \"{NAMESPACE}\"\n[kubernetes]\ncontext = \"carapulse-test\"\n\
             read_credential = \"file:/etc/carapulse/secrets/kube_shop\"\nwrite_credential = \"file:/etc/carapulse/secrets/kube_shop\"\n\
             [services]\ncheckout = \"deployment/checkout\"\n"
        );
        let proposed = ada.ask(
            &["target", "propose", "/dev/stdin", "--output", "json"],
            file.as_bytes(),
        )?;
        let change = text(&serde_json::from_str(&proposed)?, "/pending/change_id")?;
        grace.run(&["target", "confirm", NAMESPACE, "--change", &change])?;
    }
    Ok(())
}

impl<'a> Person<'a> {
    fn new(project: &'a Project, actor: &str, name: &str) -> Result<Self> {
        let program = [
            "carapulse",
            "token",
            "create",
            "--actor",
            actor,
            "--role",
            "admin",
            "--person",
            name,
            "--output",
            "json",
        ];
        let made: Value = serde_json::from_str(&project.exec("gateway", &[], &program, b"")?)?;
        Ok(Self {
            project,
            token: text(&made, "/token")?,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        self.ask(arguments, b"").map(drop)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        Ok(serde_json::from_str(&self.ask(&arguments, b"")?)?)
    }

    fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let program: Vec<&str> = std::iter::once("carapulse")
            .chain(arguments.iter().copied())
            .collect();
        self.project
            .exec("gateway", &[("CARAPULSE_TOKEN", &self.token)], &program, input)
    }
}

/// Where the API server of a kubeconfig listens.
pub fn api_address(kubeconfig: &Path) -> Result<SocketAddr> {
    let text = fs::read_to_string(kubeconfig)?;
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: https://"));
    server
        .context("the kubeconfig names no server")?
        .parse()
        .context("the server's address")
}

/// The kubeconfig as the tool-router can use it: another address, the same certificate.
fn for_the_network(text: &str, address: SocketAddr) -> Result<String> {
    let line = text.lines().find(|line| line.trim().starts_with("server: "));
    let line = line.context("the kubeconfig names no server")?;
    let indent = &line[..line.len() - line.trim_start().len()];
    Ok(text.replace(
        line,
        &format!("{indent}server: https://{address}\n{indent}tls-server-name: {SERVER_NAME}"),
    ))
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .with_context(|| format!("{pointer} is missing in {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_leads_to_the_relay_under_a_name_of_the_certificate() {
        let text =
            "clusters:\n- cluster:\n    server: https://127.0.0.1:6443\n    certificate-authority-data: x\n";
        let made = for_the_network(text, "10.1.2.1:7000".parse().expect("an address")).expect("a server");
        assert_eq!(
            made,
            "clusters:\n- cluster:\n    server: https://10.1.2.1:7000\n    tls-server-name: kubernetes.default.svc\n    certificate-authority-data: x\n"
        );
    }
}
