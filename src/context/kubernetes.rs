//! What the Kubernetes API of a target says about its namespace, as facts.
//!
//! Each kind of object is a source of its own: a reader that may not list nodes still sees pods.

use std::{collections::BTreeMap, future::Future};

use chrono::{DateTime, Utc};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod, ResourceQuota},
};
use serde::{Deserialize, Serialize};

use super::{kubernetes_reduce as reduce, source::SourceStatus, workload::WorkloadRef};
use crate::connectors::{self, Kubernetes, Listed};

/// Most objects of a kind that are read.
const MAX_OBJECTS: usize = 500;
/// Most events that are kept, newest first.
const MAX_EVENTS: usize = 200;

/// The objects as the API gave them.
#[derive(Debug, Default)]
pub struct RawKubernetes {
    /// Pods of the namespace.
    pub pods: Vec<Pod>,
    /// Deployments of the namespace.
    pub deployments: Vec<Deployment>,
    /// Replica sets of the namespace.
    pub replica_sets: Vec<ReplicaSet>,
    /// Events of the namespace.
    pub events: Vec<Event>,
    /// Quotas of the namespace.
    pub quotas: Vec<ResourceQuota>,
    /// Autoscalers of the namespace.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// Nodes of the cluster.
    pub nodes: Vec<Node>,
}

/// The objects, reduced and bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesFacts {
    /// By name.
    pub pods: Vec<PodFact>,
    /// By name.
    pub deployments: Vec<DeploymentFact>,
    /// By deployment, newest revision first.
    pub replica_sets: Vec<ReplicaSetFact>,
    /// Newest first.
    pub events: Vec<EventFact>,
    /// By name.
    pub quotas: Vec<QuotaFact>,
    /// By name.
    pub autoscalers: Vec<AutoscalerFact>,
    /// By name.
    pub nodes: Vec<NodeFact>,
}

/// A condition of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// `Ready`, `PodScheduled`, `ReplicaFailure`, …
    pub r#type: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// One word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodFact {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The workload that owns it, over its owner references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// The replica set that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_set: Option<String>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Init containers first.
    pub containers: Vec<ContainerFact>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its labels, bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerFact {
    /// Its name.
    pub name: String,
    /// Its image as the pod asks for it.
    pub image: String,
    /// Whether it runs before the others.
    pub init: bool,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i64,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_terminated: Option<Terminated>,
    /// Its memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// `liveness`, `readiness`, `startup`: the probes that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", deny_unknown_fields)]
pub enum ContainerState {
    /// Not started.
    Waiting {
        /// `ImagePullBackOff`, `CrashLoopBackOff`, …
        reason: String,
        /// The kubelet's sentence.
        message: String,
    },
    /// Running.
    Running {
        /// Since when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<DateTime<Utc>>,
    },
    /// Ended.
    Terminated(Terminated),
    /// The kubelet says nothing.
    Unknown,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminated {
    /// `OOMKilled`, `Error`, `Completed`.
    pub reason: String,
    /// Exit status.
    pub exit_code: i64,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// What it left behind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFact {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Replicas that its spec asks for.
    pub replicas: i64,
    /// Ready replicas.
    pub ready: i64,
    /// Replicas of the newest template.
    pub updated: i64,
    /// Available replicas.
    pub available: i64,
    /// Revision of the newest template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Whether the controller has seen the newest spec.
    pub observed: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Who manages it besides Kubernetes (`argocd`, `flux`, `helm`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<String>,
    /// Its labels, bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A replica set of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaSetFact {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The deployment that owns it, by uid.
    pub deployment: String,
    /// Revision, as the deployment controller numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Replicas that its spec asks for.
    pub replicas: i64,
    /// Ready replicas.
    pub ready: i64,
    /// When it was made: when its revision was first rolled out.
    pub created_at: DateTime<Utc>,
    /// Images of its template.
    pub images: Vec<String>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFact {
    /// `kind/name` of what it is about, kind in lower case.
    pub object: String,
    /// One word: `Unhealthy`, `FailedCreate`, …
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// How often.
    pub count: i64,
    /// The last time.
    pub last_seen: DateTime<Utc>,
}

/// A quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaFact {
    /// Its name.
    pub name: String,
    /// Resource → limit and use, as quantities.
    pub resources: BTreeMap<String, QuotaLine>,
}

/// One resource of a quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaLine {
    /// The limit.
    pub hard: String,
    /// What is used.
    pub used: String,
}

/// An autoscaler: the owner of a replica count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoscalerFact {
    /// Its name.
    pub name: String,
    /// `kind/name` of what it scales, kind in lower case.
    pub scales: String,
    /// Upper bound.
    pub max: i64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Whether the kubelet says so.
    pub ready: bool,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// `MemoryPressure`, `DiskPressure`, `PIDPressure`.
    pub pressures: Vec<String>,
}

/// Names of the sources that this collector reports.
pub const SOURCES: [&str; 7] = [
    "kubernetes.pods",
    "kubernetes.deployments",
    "kubernetes.replica_sets",
    "kubernetes.events",
    "kubernetes.resource_quotas",
    "kubernetes.autoscalers",
    "kubernetes.nodes",
];

/// Reads the namespace; `now` stamps what was read. No facts when nothing at all could be read.
pub async fn collect(
    client: &Kubernetes,
    namespace: &str,
    now: DateTime<Utc>,
) -> (Option<KubernetesFacts>, Vec<SourceStatus>) {
    let mut raw = RawKubernetes::default();
    // One after the other: a small API server is already in trouble when alerts fire.
    let statuses = vec![
        take(
            SOURCES[0],
            client.pods(namespace, MAX_OBJECTS),
            &mut raw.pods,
            now,
        )
        .await,
        take(
            SOURCES[1],
            client.deployments(namespace, MAX_OBJECTS),
            &mut raw.deployments,
            now,
        )
        .await,
        take(
            SOURCES[2],
            client.replica_sets(namespace, MAX_OBJECTS),
            &mut raw.replica_sets,
            now,
        )
        .await,
        take(
            SOURCES[3],
            client.events(namespace, MAX_OBJECTS * 2),
            &mut raw.events,
            now,
        )
        .await,
        take(
            SOURCES[4],
            client.resource_quotas(namespace, 50),
            &mut raw.quotas,
            now,
        )
        .await,
        take(
            SOURCES[5],
            client.autoscalers(namespace, 100),
            &mut raw.autoscalers,
            now,
        )
        .await,
        take(SOURCES[6], client.nodes(MAX_OBJECTS), &mut raw.nodes, now).await,
    ];
    let seen = statuses.iter().any(|s| s.collected_at.is_some());
    (seen.then(|| facts(&raw)), statuses)
}

async fn take<T>(
    name: &str,
    read: impl Future<Output = Result<Listed<T>, connectors::Error>>,
    into: &mut Vec<T>,
    now: DateTime<Utc>,
) -> SourceStatus {
    match read.await {
        Ok(listed) => {
            *into = listed.items;
            SourceStatus::available(name, now, listed.truncated)
        }
        Err(error) => SourceStatus::unavailable(name, &error.to_string()),
    }
}

/// Reduces what the API gave. Pure.
#[must_use]
pub fn facts(raw: &RawKubernetes) -> KubernetesFacts {
    let owners = reduce::Owners::of(raw);
    let mut facts = KubernetesFacts {
        pods: raw.pods.iter().filter_map(|p| reduce::pod(p, &owners)).collect(),
        deployments: raw.deployments.iter().filter_map(reduce::deployment).collect(),
        replica_sets: raw
            .replica_sets
            .iter()
            .filter_map(|r| reduce::replica_set(r, &owners))
            .collect(),
        events: raw.events.iter().filter_map(reduce::event).collect(),
        quotas: raw.quotas.iter().filter_map(reduce::quota).collect(),
        autoscalers: raw.autoscalers.iter().filter_map(reduce::autoscaler).collect(),
        nodes: raw.nodes.iter().filter_map(reduce::node).collect(),
    };
    facts.pods.sort_by(|a, b| a.name.cmp(&b.name));
    facts.deployments.sort_by(|a, b| a.name.cmp(&b.name));
    facts
        .replica_sets
        .sort_by(|a, b| (&a.deployment, b.revision, &a.name).cmp(&(&b.deployment, a.revision, &b.name)));
    facts
        .events
        .sort_by(|a, b| (b.last_seen, &a.object, &a.reason).cmp(&(a.last_seen, &b.object, &b.reason)));
    facts.events.truncate(MAX_EVENTS);
    facts
}
