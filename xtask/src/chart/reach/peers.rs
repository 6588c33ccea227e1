//! The parties between whom connections are looked at, and how a policy finds them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::chart::helm::{NAMESPACE, text};

pub type Labels = BTreeMap<String, String>;

/// A pod or an address.
#[derive(Debug, Clone)]
pub struct Party {
    pub name: String,
    /// None: outside the cluster.
    pub namespace: Option<String>,
    pub labels: Labels,
    pub address: Option<Ipv4Addr>,
    /// `8080`, `53/UDP`.
    pub ports: Vec<String>,
    /// One of ours: connections between two others are not looked at.
    pub guarded: bool,
}

impl Party {
    pub fn namespace_labels(&self) -> Labels {
        let name = self
            .namespace
            .iter()
            .map(|name| ("kubernetes.io/metadata.name".to_owned(), name.clone()));
        name.collect()
    }
}

/// The pods that are rendered, with every port of theirs, and what is around them.
pub fn parties(rendered: &[Value]) -> Vec<Party> {
    let mut parties: Vec<Party> = rendered.iter().filter_map(pod).collect();
    parties.extend([
        other("stranger", NAMESPACE, &[("app", "stranger")], &["80"]),
        other("postgres", NAMESPACE, &[("app", "postgres")], &["5432"]),
        other("elsewhere", "shop", &[("app", "shop")], &["8080"]),
        other(
            "prometheus",
            "monitoring",
            &[("app.kubernetes.io/name", "prometheus")],
            &["9090"],
        ),
        other(
            "dns",
            "kube-system",
            &[("k8s-app", "kube-dns")],
            &["53", "53/UDP"],
        ),
        outside("s3", [52, 216, 10, 1], &["443"]),
        outside("metadata", [169, 254, 169, 254], &["80", "443"]),
        outside("private", [10, 20, 1, 5], &["443", "5432", "6443", "9000"]),
        outside("internet", [93, 184, 216, 34], &["80"]),
    ]);
    parties
}

fn pod(object: &Value) -> Option<Party> {
    let template = object.pointer("/spec/template")?;
    let labels: Labels = serde_json::from_value(template.pointer("/metadata/labels")?.clone()).ok()?;
    let containers = template.pointer("/spec/containers")?.as_array()?;
    let ports = containers
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten());
    Some(Party {
        name: labels.get("app.kubernetes.io/component")?.clone(),
        namespace: Some(text(object, "metadata/namespace").to_owned()),
        ports: ports
            .filter_map(|port| Some(port["containerPort"].as_u64()?.to_string()))
            .collect(),
        labels,
        address: None,
        guarded: true,
    })
}

fn other(name: &str, namespace: &str, labels: &[(&str, &str)], ports: &[&str]) -> Party {
    Party {
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        address: None,
        ports: ports.iter().map(|port| (*port).to_owned()).collect(),
        guarded: false,
    }
}

fn outside(name: &str, address: [u8; 4], ports: &[&str]) -> Party {
    Party {
        namespace: None,
        address: Some(address.into()),
        ..other(name, "", &[], ports)
    }
}

/// A label selector; an empty one selects everything.
pub fn selects(selector: &Value, labels: &Labels) -> bool {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let mut exact = exact.map(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    let mut expressions = expressions.map(|expression| {
        let found = labels.get(expression["key"].as_str().unwrap_or_default());
        let listed = expression["values"].as_array().into_iter().flatten();
        let listed = listed
            .into_iter()
            .any(|value| value.as_str() == found.map(String::as_str));
        match expression["operator"].as_str() {
            Some("In") => listed,
            Some("NotIn") => !listed,
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            _ => false,
        }
    });
    exact.all(|fits| fits) && expressions.all(|fits| fits)
}

/// Whether an address lies in a block, and in none of its exceptions.
pub fn within(block: &Value, address: Ipv4Addr) -> bool {
    let lies_in = |cidr: Option<&str>| {
        cidr.and_then(network)
            .is_some_and(|(base, mask)| u32::from(address) & mask == base & mask)
    };
    let mut except = block["except"].as_array().into_iter().flatten();
    lies_in(block["cidr"].as_str()) && !except.any(|cidr| lies_in(cidr.as_str()))
}

fn network(cidr: &str) -> Option<(u32, u32)> {
    let (base, bits) = cidr.split_once('/')?;
    let (base, bits): (Ipv4Addr, u32) = (base.parse().ok()?, bits.parse().ok()?);
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
    Some((base.into(), mask))
}
