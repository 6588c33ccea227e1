//! Who reaches whom, tried from inside of the containers; by name and by address, for a name that does not resolve proves
//! little.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::project::Project;
use crate::report::{capture, say};

/// From, to (service and port), whether it must be reached.
const TRIALS: &[(&str, &str, u16, bool)] = &[
    ("sandbox", "tool-router", 8083, true),
    ("sandbox", "postgres", 5432, false),
    ("sandbox", "minio", 9000, false),
    ("sandbox", "opa", 8181, false),
    ("sandbox", "temporal", 7233, false),
    ("sandbox", "gateway", 8080, false),
    ("sandbox", "orchestrator", 8085, false),
    ("tool-router", "sandbox", 8091, true),
    ("tool-router", "postgres", 5432, true),
    ("tool-router", "temporal", 7233, false),
    ("gateway", "tool-router", 8081, true),
    ("gateway", "postgres", 5432, true),
    ("gateway", "sandbox", 8091, false),
    ("gateway", "orchestrator", 8085, false),
    ("gateway", "temporal", 7233, false),
    ("orchestrator", "temporal", 7233, true),
    ("orchestrator", "tool-router", 8081, true),
    ("orchestrator", "sandbox", 8091, false),
    ("orchestrator", "gateway", 8080, false),
];

/// Who has no way to this machine, and through it to any other.
const SHUT_IN: [&str; 2] = ["sandbox", "orchestrator"];

/// Tries all of it; `managed` is the address of the managed system on this machine.
pub fn try_all(project: &Project, managed: std::net::SocketAddr) -> Result<()> {
    let mut wrong = Vec::new();
    for (from, to, port, expected) in TRIALS {
        let mut hosts = vec![(*to).to_owned()];
        hosts.extend(addresses(project, to)?);
        // An address on a network of somebody else's must lead nowhere; one that is shared must lead there.
        let reached: Vec<_> = hosts
            .iter()
            .filter(|host| reaches(project, from, host, *port))
            .collect();
        if reached.is_empty() == *expected {
            wrong.push(format!(
                "{from} → {to}:{port}: reached by {reached:?} of {hosts:?}"
            ));
        }
    }
    for from in SHUT_IN {
        for (host, port) in [
            (managed.ip().to_string(), managed.port()),
            ("192.0.2.1".to_owned(), 443),
        ] {
            if reaches(project, from, &host, port) {
                wrong.push(format!("{from} → {host}:{port}: reached"));
            }
        }
        let routes = project.exec(from, &[], &["cat", "/proc/net/route"], b"")?;
        let outside = routes
            .lines()
            .skip(1)
            .any(|line| line.split_whitespace().nth(1) == Some("00000000"));
        if outside {
            wrong.push(format!("{from} has a route to outside"));
        }
    }
    if !reaches(project, "tool-router", &managed.ip().to_string(), managed.port()) {
        wrong.push("tool-router → the managed system: not reached".to_owned());
    }
    if !wrong.is_empty() {
        bail!("the networks are not as designed:\n  {}", wrong.join("\n  "));
    }
    say(&format!(
        "{} ways between containers are as designed",
        TRIALS.len() + 5
    ));
    Ok(())
}

/// Whether a TCP connection from a service's container can be made. Debian's bash needs no other program for it.
fn reaches(project: &Project, from: &str, host: &str, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{host}/{port}");
    let asked = project.exec(from, &[], &["timeout", "3", "bash", "-c", &script], b"");
    asked.is_ok()
}

/// A service's addresses on all of its networks.
fn addresses(project: &Project, service: &str) -> Result<Vec<String>> {
    let id = project.container(service)?;
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let mut command = project.engine.command();
    command
        .args(["inspect", "--format", template, &id])
        .stdin(Stdio::null());
    let text = capture(&mut command).with_context(|| format!("the addresses of {service}"))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
