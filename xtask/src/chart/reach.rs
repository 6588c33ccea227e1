//! `cargo xtask chart reach`: who could reach whom, worked out from the rendered network policies.
//!
//! In: the policies of the chart, and `chart/ci/reach.toml`, which lists every connection that there is to be. Out: each
//! connection that the policies allow and the list does not, or the other way round, over all pairs of the parties below.
//! Worked out, not tried: whether a cluster's network keeps to its policies is that network's business.

mod peers;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::helm::{Helm, KUBE_VERSION, NAMESPACE, objects, text};
use super::matrix;
use crate::report::say;
use crate::workspace;
use peers::{Party, parties, selects, within};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

/// One set of values, and all that may be reached with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    values: String,
    /// `from -> to:port`, both parties' names.
    allowed: BTreeSet<String>,
}

/// Works out every case.
pub fn run() -> Result<()> {
    let table = fs::read_to_string(workspace::path("chart/ci/reach.toml")).context("chart/ci/reach.toml")?;
    let table: Table = toml::from_str(&table).context("chart/ci/reach.toml")?;
    let helm = Helm::find()?;
    let entries = matrix::entries()?;
    let mut wrong = Vec::new();
    for case in &table.case {
        let entry = entries.iter().find(|entry| entry.name == case.values);
        let entry =
            entry.with_context(|| format!("chart/ci/reach.toml: no values are called {}", case.values))?;
        let rendered = objects(&helm.template(entry, KUBE_VERSION)?)?;
        let open = connections(&rendered, &parties(&rendered));
        let name = &case.values;
        wrong.extend(
            open.difference(&case.allowed)
                .map(|way| format!("{name}: {way}: open, and should not be")),
        );
        wrong.extend(
            case.allowed
                .difference(&open)
                .map(|way| format!("{name}: {way}: closed, and should be open")),
        );
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    say(&format!(
        "chart: the policies of {} sets of values open what chart/ci/reach.toml lists, and nothing else (worked out, not tried on a network)",
        table.case.len()
    ));
    Ok(())
}

/// Every connection, of all pairs and all ports that any party has, which the policies let through.
fn connections(rendered: &[Value], parties: &[Party]) -> BTreeSet<String> {
    let policies: Vec<&Value> = rendered
        .iter()
        .filter(|object| text(object, "kind") == "NetworkPolicy")
        .collect();
    let mut open = BTreeSet::new();
    for from in parties {
        for to in parties
            .iter()
            .filter(|to| to.name != from.name && (from.guarded || to.guarded))
        {
            for port in &to.ports {
                if lets(&policies, "egress", from, to, port) && lets(&policies, "ingress", to, from, port) {
                    open.insert(format!("{} -> {}:{port}", from.name, to.name));
                }
            }
        }
    }
    open
}

/// Whether the policies that select `this` let it speak with `other` in one direction. No policy for it: everything.
fn lets(policies: &[&Value], direction: &str, this: &Party, other: &Party, port: &str) -> bool {
    let kind = if direction == "egress" {
        "Egress"
    } else {
        "Ingress"
    };
    let mine: Vec<&&Value> = policies
        .iter()
        .filter(|policy| {
            let types = policy["spec"]["policyTypes"].as_array();
            this.namespace.as_deref() == Some(NAMESPACE)
                && types.is_some_and(|types| types.iter().any(|name| name == kind))
                && selects(&policy["spec"]["podSelector"], &this.labels)
        })
        .collect();
    if mine.is_empty() {
        return true;
    }
    let peers = if direction == "egress" { "to" } else { "from" };
    let rules = mine
        .iter()
        .flat_map(|policy| policy["spec"][direction].as_array().into_iter().flatten());
    // A port belongs to the one that is called.
    rules
        .into_iter()
        .any(|rule| names_port(rule, port) && names_peer(&rule[peers], other))
}

fn names_port(rule: &Value, wanted: &str) -> bool {
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "TCP"));
    match rule["ports"].as_array().filter(|ports| !ports.is_empty()) {
        None => true,
        Some(ports) => ports.iter().any(|port| {
            let same = port["port"].as_u64().map(|port| port.to_string()) == Some(number.to_owned());
            same && port["protocol"].as_str().unwrap_or("TCP") == protocol
        }),
    }
}

fn names_peer(peers: &Value, other: &Party) -> bool {
    match peers.as_array().filter(|peers| !peers.is_empty()) {
        None => true,
        Some(peers) => peers.iter().any(|peer| {
            if let Some(block) = peer.get("ipBlock") {
                return other.address.is_some_and(|address| within(block, address));
            }
            let Some(namespace) = &other.namespace else {
                return false;
            };
            let in_namespace = match peer.get("namespaceSelector") {
                None => namespace == NAMESPACE,
                Some(selector) => selects(selector, &other.namespace_labels()),
            };
            in_namespace
                && peer
                    .get("podSelector")
                    .is_none_or(|selector| selects(selector, &other.labels))
        }),
    }
}

#[cfg(test)]
mod tests;
