//! What the world looks like: a frozen, digested picture of a target.
//!
//! In: a registered [`Target`], its [`Sources`], and a [`Focus`] (what an alert is about). Out: a [`Snapshot`], its canonical
//! bytes and [`Digest`]. Always holds: a source that fails is recorded with its reason; all text is bounded and free of
//! control characters; labels, annotations and commit messages are kept to be seen and are never values; objects of
//! another namespace do not get in. Not here: what it means (`diagnose`), and processes (a [`GitReader`] is given).

mod git;
pub mod git_text;
mod graph;
mod kubernetes;
mod kubernetes_reduce;
pub mod manifest;
mod prometheus;
mod promql;
mod source;
pub mod store;
mod text;
mod workload;

use std::sync::Arc;

use chrono::{DateTime, Timelike, Utc};
use serde::{Deserialize, Serialize};

pub use git::{Commit, GitFacts, GitReadError, GitReader, collect as collect_git};
pub use graph::{Edge, Graph, Node, object_id, workload_id};
pub use kubernetes::{
    AutoscalerFact, Condition, ContainerFact, ContainerState, DeploymentFact, EventFact, KubernetesFacts,
    NodeFact, PodFact, QuotaFact, QuotaLine, RawKubernetes, ReplicaSetFact, SOURCES as KUBERNETES_SOURCES,
    Terminated, facts as kubernetes_facts,
};
pub use prometheus::{
    DEPENDENCY_RATIO_METRIC, ERROR_RATIO_METRIC, MetricFact, MetricRole, Point, SeriesFact,
};
pub use source::{SourceState, SourceStatus};
pub use text::{clean, clean_lines};
pub use workload::{WorkloadKind, WorkloadRef, is_object_name};

use crate::{
    connectors::{Kubernetes, Prometheus},
    domain::{CanonicalError, ContextRef, Digest, OpCtx, Target, TargetId, TenantId, canonical},
    intake::signal::SignalFacts,
};

/// Tag of a snapshot's digest.
pub const DIGEST_TAG: &str = "carapulse.snapshot";
/// Format version of [`Snapshot`].
pub const VERSION: u16 = 1;

/// Where to look. What a target does not name is `None`.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Reads the target's repository.
    pub git: Option<Arc<dyn GitReader>>,
    /// Reads the target's cluster, or why there is no connection.
    pub kubernetes: Option<Result<Kubernetes, String>>,
    /// Reads the target's Prometheus, or why there is no client.
    pub prometheus: Option<Result<Prometheus, String>>,
}

/// What to look at more closely. Every name may come from an alert: it selects, nothing more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Focus {
    /// Names of services, as alerts call them.
    pub services: Vec<String>,
    /// Workloads of the target's namespace.
    pub workloads: Vec<WorkloadRef>,
    /// Names of metrics with a label `service`.
    pub metrics: Vec<String>,
    /// When the trouble began: metrics are read from an hour before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
}

impl Focus {
    /// What `signal` is about.
    #[must_use]
    pub fn of_signal(signal: &SignalFacts) -> Self {
        let label = |key: &str| signal.labels.get(key).map(String::as_str);
        let named = [
            (WorkloadKind::Deployment, "deployment"),
            (WorkloadKind::StatefulSet, "statefulset"),
            (WorkloadKind::DaemonSet, "daemonset"),
        ];
        let workloads = named
            .iter()
            .filter_map(|(kind, key)| WorkloadRef::new(*kind, label(key)?));
        let services = signal.service.iter().filter(|s| prometheus::is_service_name(s));
        Self {
            services: services.cloned().collect(),
            workloads: workloads.collect(),
            metrics: Vec::new(),
            since: Some(whole_second(signal.starts_at)),
        }
    }
}

/// A frozen picture of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which target.
    pub target_id: TargetId,
    /// The target's version then.
    pub target_version: i64,
    /// Where that is.
    pub context: ContextRef,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// What was looked at more closely.
    pub focus: Focus,
    /// Every source, with what came of it.
    pub sources: Vec<SourceStatus>,
    /// What the repository says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitFacts>,
    /// What the cluster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesFacts>,
    /// What Prometheus says.
    pub metrics: Vec<MetricFact>,
    /// How it hangs together.
    pub graph: Graph,
}

impl Snapshot {
    /// The canonical bytes to store, and their digest.
    pub fn seal(&self) -> Result<(Vec<u8>, Digest), CanonicalError> {
        let bytes = canonical::to_bytes(self)?;
        let digest = digest_of(&bytes);
        Ok((bytes, digest))
    }

    /// Reads stored bytes of the present [`VERSION`].
    pub fn open(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::from_bytes(bytes)
    }

    /// How the source `name` answered.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&SourceStatus> {
        self.sources.iter().find(|s| s.name == name)
    }
}

/// The digest of a snapshot's stored bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(DIGEST_TAG, VERSION, bytes)
}

/// Why no snapshot was taken. A source that fails is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target belongs to somebody else.
    #[error("target `{target}` is not of tenant `{tenant}`")]
    Tenant {
        /// Who asked.
        tenant: TenantId,
        /// Name of the target.
        target: String,
    },
}

/// What the collectors brought.
#[derive(Debug, Default)]
pub struct Collected {
    /// What the repository says.
    pub git: Option<GitFacts>,
    /// What the cluster says.
    pub kubernetes: Option<KubernetesFacts>,
    /// What Prometheus says.
    pub metrics: Vec<MetricFact>,
    /// Every source, with what came of it.
    pub sources: Vec<SourceStatus>,
}

/// Takes a snapshot of `target`. Sources are read side by side; each ends by its own timeouts.
pub async fn snapshot(
    ctx: &OpCtx,
    target: &Target,
    sources: &Sources,
    focus: &Focus,
) -> Result<Snapshot, Error> {
    if target.context.tenant_id != ctx.tenant.as_str() {
        return Err(Error::Tenant {
            tenant: ctx.tenant.clone(),
            target: target.name.clone(),
        });
    }
    let now = whole_second(ctx.now());
    let ((git, git_sources), (kubernetes, kubernetes_sources), (metrics, metric_sources)) = tokio::join!(
        read_git(target, sources, focus, now),
        read_kubernetes(target, sources, now),
        read_metrics(target, sources, focus, now),
    );
    let collected = Collected {
        git,
        kubernetes,
        metrics,
        sources: [git_sources, kubernetes_sources, metric_sources].concat(),
    };
    Ok(assemble(&ctx.tenant, target, focus, collected, now))
}

/// Puts together what the collectors brought. Pure.
#[must_use]
pub fn assemble(
    tenant: &TenantId,
    target: &Target,
    focus: &Focus,
    collected: Collected,
    taken_at: DateTime<Utc>,
) -> Snapshot {
    let Collected {
        git,
        kubernetes,
        metrics,
        sources,
    } = collected;
    Snapshot {
        tenant_id: tenant.clone(),
        target_id: target.target_id,
        target_version: target.version,
        context: target.context.clone(),
        taken_at: whole_second(taken_at),
        focus: focus.clone(),
        sources,
        graph: graph::build(target, git.as_ref(), kubernetes.as_ref(), &metrics),
        git,
        kubernetes,
        metrics,
    }
}

async fn read_git(
    target: &Target,
    sources: &Sources,
    focus: &Focus,
    now: DateTime<Utc>,
) -> (Option<GitFacts>, Vec<SourceStatus>) {
    match (&target.git, &sources.git) {
        (Some(place), Some(reader)) => {
            git::collect(
                reader.as_ref(),
                place,
                &target.context.namespace,
                focus.since,
                now,
            )
            .await
        }
        (Some(_), None) => (
            None,
            all(&git::SOURCES, |n| {
                SourceStatus::unavailable(n, "no reader was given")
            }),
        ),
        (None, _) => (None, all(&git::SOURCES, SourceStatus::not_configured)),
    }
}

async fn read_kubernetes(
    target: &Target,
    sources: &Sources,
    now: DateTime<Utc>,
) -> (Option<KubernetesFacts>, Vec<SourceStatus>) {
    let down = |reason: &str| {
        (
            None,
            all(&kubernetes::SOURCES, |n| SourceStatus::unavailable(n, reason)),
        )
    };
    match (&target.kubernetes, &sources.kubernetes) {
        (None, _) => (None, all(&kubernetes::SOURCES, SourceStatus::not_configured)),
        (Some(_), _) if target.context.namespace.is_empty() => down("the target names no namespace"),
        (Some(_), Some(Ok(client))) => kubernetes::collect(client, &target.context.namespace, now).await,
        (Some(_), Some(Err(reason))) => down(reason),
        (Some(_), None) => down("no client was given"),
    }
}

async fn read_metrics(
    target: &Target,
    sources: &Sources,
    focus: &Focus,
    now: DateTime<Utc>,
) -> (Vec<MetricFact>, Vec<SourceStatus>) {
    let one = |status| (Vec::new(), vec![status]);
    match (&target.prometheus_url, &sources.prometheus) {
        (None, _) => one(SourceStatus::not_configured("prometheus")),
        (Some(_), Some(Ok(client))) => prometheus::collect(client, target, focus, now).await,
        (Some(_), Some(Err(reason))) => one(SourceStatus::unavailable("prometheus", reason)),
        (Some(_), None) => one(SourceStatus::unavailable("prometheus", "no client was given")),
    }
}

fn all(names: &[&'static str], status: impl Fn(&'static str) -> SourceStatus) -> Vec<SourceStatus> {
    names.iter().map(|name| status(name)).collect()
}

fn whole_second(time: DateTime<Utc>) -> DateTime<Utc> {
    time.with_nanosecond(0).unwrap_or(time)
}
