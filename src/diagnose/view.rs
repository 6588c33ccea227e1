//! The snapshot as rules see it: what is known, and what concerns one workload.

use chrono::{DateTime, Duration, Utc};

use crate::{
    context::{
        AutoscalerFact, ContainerFact, DeploymentFact, EventFact, MetricFact, MetricRole, PodFact,
        ReplicaSetFact, Snapshot, WorkloadRef, manifest::Manifest, workload_id,
    },
    domain::Target,
    intake::signal::SignalFacts,
};

/// Older than this, an event or an end of a container no longer tells of the present.
const RECENT: Duration = Duration::minutes(60);

/// What is known of a target.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) target: &'a Target,
}

impl<'a> Known<'a> {
    /// Whether the snapshot has this workload.
    pub(super) fn has(&self, workload: &WorkloadRef) -> bool {
        self.snapshot
            .graph
            .find(&workload_id(self.target, workload))
            .is_some()
    }

    /// The workload behind a service: as the target's registration maps it, else the one of that name.
    pub(super) fn service(&self, service: &str) -> Option<WorkloadRef> {
        let graph = &self.snapshot.graph;
        let node = graph
            .find(&format!("service/{service}"))
            .filter(|n| n.kind == "service")?;
        let found = graph.out(&node.node_id, "runs_in").next()?;
        self.workload_of(found)
    }

    /// The pod of that name.
    pub(super) fn pod(&self, name: &str) -> Option<&'a PodFact> {
        self.snapshot
            .kubernetes
            .as_ref()?
            .pods
            .iter()
            .find(|p| p.name == name)
    }

    /// Workloads that `workload` calls.
    pub(super) fn dependencies(&self, workload: &WorkloadRef) -> Vec<WorkloadRef> {
        let from = workload_id(self.target, workload);
        self.snapshot
            .graph
            .out(&from, "depends_on")
            .filter_map(|id| self.workload_of(id))
            .collect()
    }

    /// What a rule sees of `workload`.
    pub(super) fn view(&self, signal: &'a SignalFacts, workload: WorkloadRef) -> View<'a> {
        View {
            known: *self,
            signal,
            workload,
        }
    }

    fn workload_of(&self, node_id: &str) -> Option<WorkloadRef> {
        // `<cluster>/<kind>/<namespace>/<name>`, or without a namespace; a cluster's name may hold slashes, too.
        let graph = &self.snapshot.graph;
        let node = graph.find(node_id)?;
        let kind = node.kind.strip_prefix("k8s.")?;
        let name = &node.name;
        format!("{kind}/{name}").parse().ok()
    }
}

/// What concerns one workload.
pub(super) struct View<'a> {
    pub(super) known: Known<'a>,
    pub(super) signal: &'a SignalFacts,
    pub(super) workload: WorkloadRef,
}

impl<'a> View<'a> {
    pub(super) fn snapshot(&self) -> &'a Snapshot {
        self.known.snapshot
    }

    /// Its pods that are not on their way out, with their place in the snapshot.
    pub(super) fn pods(&self) -> impl Iterator<Item = (usize, &'a PodFact)> + use<'a, '_> {
        let pods = self.snapshot().kubernetes.as_ref().map_or(&[][..], |k| &k.pods);
        pods.iter()
            .enumerate()
            .filter(|(_, p)| p.workload.as_ref() == Some(&self.workload) && !p.deleting)
    }

    /// Its pods' containers: pointer into the snapshot, pod and container.
    pub(super) fn containers(
        &self,
    ) -> impl Iterator<Item = (String, &'a PodFact, &'a ContainerFact)> + use<'a, '_> {
        self.pods().flat_map(|(at, pod)| {
            let place =
                move |(c, container)| (format!("/kubernetes/pods/{at}/containers/{c}"), pod, container);
            pod.containers.iter().enumerate().map(place)
        })
    }

    /// The deployment, with its place in the snapshot.
    pub(super) fn deployment(&self) -> Option<(usize, &'a DeploymentFact)> {
        let all = &self.snapshot().kubernetes.as_ref()?.deployments;
        let is_it = |d: &DeploymentFact| WorkloadRef::deployment(&d.name).as_ref() == Some(&self.workload);
        all.iter().enumerate().find(|(_, d)| is_it(d))
    }

    /// Its replica sets, newest revision first, with their places in the snapshot.
    pub(super) fn replica_sets(&self) -> impl Iterator<Item = (usize, &'a ReplicaSetFact)> + use<'a, '_> {
        let all = self
            .snapshot()
            .kubernetes
            .as_ref()
            .map_or(&[][..], |k| &k.replica_sets);
        all.iter()
            .enumerate()
            .filter(|(_, r)| WorkloadRef::deployment(&r.deployment).as_ref() == Some(&self.workload))
    }

    /// Recent events about `object` (`kind/name`), newest first, with their places in the snapshot.
    pub(super) fn events(&self, object: String) -> impl Iterator<Item = (usize, &'a EventFact)> + use<'a> {
        let since = self.snapshot().taken_at - RECENT;
        let all = self.snapshot().kubernetes.as_ref().map_or(&[][..], |k| &k.events);
        all.iter()
            .enumerate()
            .filter(move |(_, e)| e.object == object && e.last_seen >= since)
    }

    /// Its manifest at head, with its place in the snapshot.
    pub(super) fn manifest(&self) -> Option<(usize, &'a Manifest)> {
        let all = &self.snapshot().git.as_ref()?.manifests;
        all.iter()
            .enumerate()
            .find(|(_, m)| m.workload.as_ref() == Some(&self.workload))
    }

    /// Its autoscaler.
    pub(super) fn autoscaler(&self) -> Option<&'a AutoscalerFact> {
        let all = &self.snapshot().kubernetes.as_ref()?.autoscalers;
        all.iter().find(|a| a.scales == self.workload.to_string())
    }

    /// Metrics about it or the service that it runs, with their places in the snapshot.
    pub(super) fn metrics(
        &self,
        role: MetricRole,
    ) -> impl Iterator<Item = (usize, &'a MetricFact)> + use<'a, '_> {
        self.snapshot().metrics.iter().enumerate().filter(move |(_, m)| {
            let about = match role {
                MetricRole::CpuSaturation | MetricRole::MemorySaturation => m.subject == self.workload.name,
                _ => self.known.service(&m.subject).as_ref() == Some(&self.workload),
            };
            m.role == role && about
        })
    }

    /// Whether `at` lies within the hour before the snapshot.
    pub(super) fn is_recent(&self, at: Option<DateTime<Utc>>) -> bool {
        at.is_some_and(|at| at >= self.snapshot().taken_at - RECENT)
    }
}
