//! Nodes and edges: how things hang together, in the contract's vocabulary.
//!
//! Ids of cluster objects carry the cluster, so that two clusters cannot collide. Everything here was read from the
//! managed systems or from the registered target; a label is kept to be seen and searched, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{GitFacts, KubernetesFacts, MetricFact, WorkloadRef};
use crate::domain::Target;

/// Something of the managed world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// `k8s/<cluster>/<kind>/<namespace>/<name>`, `service/<name>`, `git/commit/<id>`, …
    pub node_id: String,
    /// `k8s.deployment`, `k8s.pod`, `service`, `git.commit`, …
    pub kind: String,
    /// Its own name.
    pub name: String,
    /// Its own labels, bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How two nodes hang together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// `edge/<relation>/<from>/<to>`.
    pub edge_id: String,
    /// Where it starts.
    pub from_node_id: String,
    /// Where it ends.
    pub to_node_id: String,
    /// `contains`, `owns`, `runs_in`, `runs_on`, `monitors`, `depends_on`, `changed`, …
    pub relation: String,
}

/// The picture as a graph, sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Everything seen.
    pub nodes: Vec<Node>,
    /// How it hangs together.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// Ids reached from `from` over `relation`.
    pub fn out<'a>(&'a self, from: &'a str, relation: &'a str) -> impl Iterator<Item = &'a str> {
        self.edges
            .iter()
            .filter(move |e| e.from_node_id == from && e.relation == relation)
            .map(|e| e.to_node_id.as_str())
    }

    /// The node with this id.
    #[must_use]
    pub fn find(&self, node_id: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.node_id == node_id)
    }
}

/// Id of an object of the target's cluster; a target without a cluster lends its own name.
#[must_use]
pub fn object_id(target: &Target, kind: &str, name: &str) -> String {
    let cluster = cluster_of(target);
    match target.context.namespace.as_str() {
        "" => format!("k8s/{cluster}/{kind}/{name}"),
        namespace => format!("k8s/{cluster}/{kind}/{namespace}/{name}"),
    }
}

/// Id of a workload.
#[must_use]
pub fn workload_id(target: &Target, workload: &WorkloadRef) -> String {
    object_id(target, workload.kind.as_str(), &workload.name)
}

fn cluster_of(target: &Target) -> String {
    match target.context.cluster_id.as_str() {
        "" => format!("target:{}", target.name),
        cluster => cluster.to_owned(),
    }
}

/// Builds the graph of what the collectors saw.
#[must_use]
pub fn build(
    target: &Target,
    git: Option<&GitFacts>,
    kubernetes: Option<&KubernetesFacts>,
    metrics: &[MetricFact],
) -> Graph {
    let mut builder = Builder::new(target);
    builder.place();
    if let Some(git) = git {
        builder.manifests(git);
    }
    if let Some(kubernetes) = kubernetes {
        builder.cluster(kubernetes);
    }
    builder.services();
    if let Some(git) = git {
        builder.dependencies(git);
        builder.commits(git);
    }
    builder.metrics(metrics);
    builder.finish()
}

struct Builder<'a> {
    target: &'a Target,
    nodes: BTreeMap<String, Node>,
    edges: BTreeSet<(String, String, String)>,
    workloads: BTreeSet<WorkloadRef>,
}

impl<'a> Builder<'a> {
    fn new(target: &'a Target) -> Self {
        Self {
            target,
            nodes: BTreeMap::new(),
            edges: BTreeSet::new(),
            workloads: BTreeSet::new(),
        }
    }

    fn node(&mut self, node_id: String, kind: &str, name: &str, labels: &BTreeMap<String, String>) {
        let node = self.nodes.entry(node_id.clone()).or_insert_with(|| Node {
            node_id,
            kind: kind.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
        });
        node.labels.extend(labels.clone());
    }

    /// Adds an edge between two nodes that are there.
    fn edge(&mut self, from: &str, relation: &str, to: &str) {
        if self.nodes.contains_key(from) && self.nodes.contains_key(to) && from != to {
            self.edges
                .insert((relation.to_owned(), from.to_owned(), to.to_owned()));
        }
    }

    fn namespace_id(&self) -> String {
        format!(
            "k8s/{}/namespace/{}",
            cluster_of(self.target),
            self.target.context.namespace
        )
    }

    fn place(&mut self) {
        let cluster = cluster_of(self.target);
        let none = BTreeMap::new();
        self.node(format!("cluster/{cluster}"), "cluster", &cluster, &none);
        let namespace = self.target.context.namespace.clone();
        if !namespace.is_empty() {
            let id = self.namespace_id();
            self.node(id.clone(), "k8s.namespace", &namespace, &none);
            self.edge(&format!("cluster/{cluster}"), "contains", &id);
        }
    }

    fn workload(&mut self, workload: &WorkloadRef, labels: &BTreeMap<String, String>) {
        let id = workload_id(self.target, workload);
        let kind = format!("k8s.{}", workload.kind.as_str());
        self.node(id.clone(), &kind, &workload.name, labels);
        self.edge(&self.namespace_id(), "contains", &id);
        self.workloads.insert(workload.clone());
    }

    fn manifests(&mut self, git: &GitFacts) {
        for manifest in &git.manifests {
            if let Some(workload) = &manifest.workload {
                self.workload(workload, &BTreeMap::new());
            } else if let Some((kind @ ("configmap" | "secret"), name)) = manifest.object.split_once('/') {
                let id = object_id(self.target, kind, name);
                self.node(id, &format!("k8s.{kind}"), name, &BTreeMap::new());
            }
        }
        for manifest in &git.manifests {
            let Some(workload) = &manifest.workload else {
                continue;
            };
            for used in &manifest.uses {
                if let Some((kind, name)) = used.split_once('/') {
                    let to = object_id(self.target, kind, name);
                    // Also when no file defines it: a commit may have just removed it.
                    self.node(to.clone(), &format!("k8s.{kind}"), name, &BTreeMap::new());
                    self.edge(&workload_id(self.target, workload), "uses", &to);
                }
            }
        }
    }

    fn cluster(&mut self, facts: &KubernetesFacts) {
        for deployment in &facts.deployments {
            if let Some(workload) = WorkloadRef::deployment(&deployment.name) {
                self.workload(&workload, &deployment.labels);
            }
        }
        for node in &facts.nodes {
            let id = format!("k8s/{}/node/{}", cluster_of(self.target), node.name);
            self.node(id, "k8s.node", &node.name, &BTreeMap::new());
        }
        for pod in &facts.pods {
            let id = object_id(self.target, "pod", &pod.name);
            self.node(id.clone(), "k8s.pod", &pod.name, &pod.labels);
            if let Some(workload) = &pod.workload {
                self.workload(workload, &BTreeMap::new());
                self.edge(&workload_id(self.target, workload), "owns", &id);
            }
            self.edge(&id, "runs_in", &self.namespace_id());
            let node = format!(
                "k8s/{}/node/{}",
                cluster_of(self.target),
                pod.node.as_deref().unwrap_or_default()
            );
            self.edge(&id, "runs_on", &node);
        }
    }

    /// A service is what the target's registration maps to a workload, or a workload under its own name.
    fn services(&mut self) {
        let none = BTreeMap::new();
        let mut names: BTreeMap<String, WorkloadRef> = self
            .workloads
            .iter()
            .rev()
            .map(|w| (w.name.clone(), w.clone()))
            .collect();
        for (service, workload) in &self.target.services {
            if let Ok(workload) = workload.parse::<WorkloadRef>() {
                names.insert(service.clone(), workload);
            }
        }
        for (service, workload) in names {
            let to = workload_id(self.target, &workload);
            if self.nodes.contains_key(&to) {
                let id = format!("service/{service}");
                self.node(id.clone(), "service", &service, &none);
                self.edge(&id, "runs_in", &to);
            }
        }
    }

    fn dependencies(&mut self, git: &GitFacts) {
        for manifest in &git.manifests {
            let Some(workload) = &manifest.workload else {
                continue;
            };
            let from = workload_id(self.target, workload);
            for host in &manifest.hosts {
                let service = format!("service/{host}");
                let to = self
                    .edges
                    .iter()
                    .find(|(relation, from, _)| relation == "runs_in" && *from == service)
                    .map(|(_, _, to)| to.clone());
                if let Some(to) = to {
                    self.edge(&from, "depends_on", &to);
                }
            }
        }
    }

    fn commits(&mut self, git: &GitFacts) {
        for commit in &git.commits {
            let id = format!("git/commit/{}", commit.id);
            self.node(id.clone(), "git.commit", &commit.id, &BTreeMap::new());
            let objects: BTreeSet<&str> = commit.changes.iter().map(|c| c.object.as_str()).collect();
            for object in objects {
                let Some((kind, name)) = object.split_once('/') else {
                    continue;
                };
                let to = object_id(self.target, kind, name);
                self.edge(&id, "changed", &to);
                // A change of what a workload uses is a change of the workload.
                let users: Vec<String> = self
                    .edges
                    .iter()
                    .filter(|(relation, _, used)| relation == "uses" && *used == to)
                    .map(|(_, user, _)| user.clone())
                    .collect();
                for user in users {
                    self.edge(&id, "changed", &user);
                }
            }
        }
    }

    fn metrics(&mut self, metrics: &[MetricFact]) {
        for metric in metrics {
            let id = format!("prometheus/query/{}", metric.name);
            self.node(id.clone(), "prometheus.query", &metric.name, &BTreeMap::new());
            self.edge(&id, "monitors", &format!("service/{}", metric.subject));
        }
    }

    fn finish(self) -> Graph {
        let edge = |(relation, from, to): (String, String, String)| Edge {
            edge_id: format!("edge/{relation}/{from}/{to}"),
            from_node_id: from,
            to_node_id: to,
            relation,
        };
        let mut edges: Vec<Edge> = self.edges.into_iter().map(edge).collect();
        edges.sort_by(|a, b| a.edge_id.cmp(&b.edge_id));
        Graph {
            nodes: self.nodes.into_values().collect(),
            edges,
        }
    }
}
