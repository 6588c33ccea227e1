//! From Kubernetes' own types to facts: bounded, cleaned, without floats.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1 as core,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference, Time},
    },
};

use super::{
    kubernetes::{
        AutoscalerFact, Condition, ContainerFact, ContainerState, DeploymentFact, EventFact, NodeFact,
        PodFact, QuotaFact, QuotaLine, RawKubernetes, ReplicaSetFact, Terminated,
    },
    text::clean,
    workload::{WorkloadKind, WorkloadRef, is_object_name},
};

const REVISION: &str = "deployment.kubernetes.io/revision";
const MAX_LABELS: usize = 16;

/// Who owns whom, by uid: names may be reused, uids are not.
pub(super) struct Owners {
    deployments: BTreeMap<String, String>,
    replica_sets: BTreeMap<String, (String, Option<String>)>,
}

impl Owners {
    pub(super) fn of(raw: &RawKubernetes) -> Self {
        let key = |m: &ObjectMeta| Some((m.uid.clone()?, m.name.clone()?));
        let deployments: BTreeMap<_, _> = raw.deployments.iter().filter_map(|d| key(&d.metadata)).collect();
        let replica_sets = raw.replica_sets.iter().filter_map(|r| {
            let (uid, name) = key(&r.metadata)?;
            let owner = controller(&r.metadata)
                .and_then(|o| deployments.get(&o.uid))
                .cloned();
            Some((uid, (name, owner)))
        });
        Self {
            replica_sets: replica_sets.collect(),
            deployments,
        }
    }

    fn of_pod(&self, meta: &ObjectMeta) -> (Option<WorkloadRef>, Option<String>) {
        let Some(owner) = controller(meta) else {
            return (None, None);
        };
        if owner.kind == "ReplicaSet" {
            let Some((name, deployment)) = self.replica_sets.get(&owner.uid) else {
                return (None, None);
            };
            let workload = deployment.as_deref().and_then(WorkloadRef::deployment);
            return (workload, Some(name.clone()));
        }
        let kind = WorkloadKind::parse(&owner.kind);
        (kind.and_then(|kind| WorkloadRef::new(kind, &owner.name)), None)
    }
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|o| o.controller == Some(true))
}

pub(super) fn pod(pod: &core::Pod, owners: &Owners) -> Option<PodFact> {
    let meta = &pod.metadata;
    let (workload, replica_set) = owners.of_pod(meta);
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let statuses = |init: bool| {
        let list = status.and_then(|s| {
            if init {
                s.init_container_statuses.as_ref()
            } else {
                s.container_statuses.as_ref()
            }
        });
        let specs = spec.and_then(|s| {
            if init {
                s.init_containers.as_ref()
            } else {
                Some(&s.containers)
            }
        });
        list.into_iter().flatten().map(move |status| {
            let spec = specs.and_then(|specs| specs.iter().find(|c| c.name == status.name));
            container(status, spec, init)
        })
    };
    let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    Some(PodFact {
        name: object_name(meta)?,
        uid: clean(meta.uid.as_deref()?, 64),
        workload,
        replica_set,
        node: spec
            .and_then(|s| s.node_name.as_deref())
            .filter(|n| is_object_name(n))
            .map(Into::into),
        phase: word(status.and_then(|s| s.phase.as_ref())),
        created_at: time(meta.creation_timestamp.as_ref())?,
        deleting: meta.deletion_timestamp.is_some(),
        containers: statuses(true).chain(statuses(false)).collect(),
        conditions: conditions
            .map(|c| {
                condition(
                    &c.type_,
                    &c.status,
                    c.reason.as_ref(),
                    c.message.as_ref(),
                    c.last_transition_time.as_ref(),
                )
            })
            .collect(),
        labels: labels(meta),
    })
}

fn container(status: &core::ContainerStatus, spec: Option<&core::Container>, init: bool) -> ContainerFact {
    let probes = spec.map_or_else(Vec::new, |s| {
        let all = [
            ("liveness", &s.liveness_probe),
            ("readiness", &s.readiness_probe),
            ("startup", &s.startup_probe),
        ];
        all.into_iter()
            .filter(|(_, p)| p.is_some())
            .map(|(name, _)| name.to_owned())
            .collect()
    });
    let limits = spec.and_then(|s| s.resources.as_ref()?.limits.as_ref()?.get("memory"));
    ContainerFact {
        name: clean(&status.name, 63),
        image: clean(
            spec.and_then(|s| s.image.as_deref()).unwrap_or(&status.image),
            250,
        ),
        init,
        ready: status.ready,
        restarts: i64::from(status.restart_count),
        state: state(status.state.as_ref()),
        last_terminated: status
            .last_state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .map(terminated),
        memory_limit: limits.map(quantity),
        probes,
    }
}

fn state(state: Option<&core::ContainerState>) -> ContainerState {
    match state {
        Some(core::ContainerState {
            waiting: Some(waiting),
            ..
        }) => ContainerState::Waiting {
            reason: word(waiting.reason.as_ref()),
            message: sentence(waiting.message.as_ref()),
        },
        Some(core::ContainerState {
            running: Some(running),
            ..
        }) => ContainerState::Running {
            since: time(running.started_at.as_ref()),
        },
        Some(core::ContainerState {
            terminated: Some(ended),
            ..
        }) => ContainerState::Terminated(terminated(ended)),
        _ => ContainerState::Unknown,
    }
}

fn terminated(ended: &core::ContainerStateTerminated) -> Terminated {
    Terminated {
        reason: word(ended.reason.as_ref()),
        exit_code: i64::from(ended.exit_code),
        finished_at: time(ended.finished_at.as_ref()),
        message: sentence(ended.message.as_ref()),
    }
}

pub(super) fn deployment(deployment: &Deployment) -> Option<DeploymentFact> {
    let meta = &deployment.metadata;
    let spec = &deployment.spec;
    let status = deployment.status.clone().unwrap_or_default();
    let count = |n: Option<i32>| i64::from(n.unwrap_or(0));
    let conditions = status.conditions.iter().flatten();
    Some(DeploymentFact {
        name: object_name(meta)?,
        uid: clean(meta.uid.as_deref()?, 64),
        replicas: i64::from(spec.replicas.unwrap_or(1)),
        ready: count(status.ready_replicas),
        updated: count(status.updated_replicas),
        available: count(status.available_replicas),
        revision: revision(meta),
        observed: status.observed_generation >= meta.generation,
        paused: spec.paused.unwrap_or(false),
        conditions: conditions
            .map(|c| {
                condition(
                    c.type_.as_deref().unwrap_or_default(),
                    c.status.as_deref().unwrap_or_default(),
                    c.reason.as_ref(),
                    c.message.as_ref(),
                    c.last_transition_time.as_ref(),
                )
            })
            .collect(),
        managers: managers(meta),
        labels: labels(meta),
    })
}

pub(super) fn replica_set(set: &ReplicaSet, owners: &Owners) -> Option<ReplicaSetFact> {
    let meta = &set.metadata;
    let spec = &set.spec;
    let containers = spec
        .template
        .as_ref()
        .and_then(|t| t.spec.as_ref())
        .map(|s| &s.containers);
    Some(ReplicaSetFact {
        name: object_name(meta)?,
        uid: clean(meta.uid.as_deref()?, 64),
        deployment: owners.deployments.get(&controller(meta)?.uid)?.clone(),
        revision: revision(meta),
        replicas: i64::from(spec.replicas.unwrap_or(1)),
        ready: i64::from(set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)),
        created_at: time(meta.creation_timestamp.as_ref())?,
        images: containers
            .into_iter()
            .flatten()
            .filter_map(|c| c.image.as_deref())
            .map(|i| clean(i, 250))
            .collect(),
    })
}

pub(super) fn event(event: &core::Event) -> Option<EventFact> {
    let about = &event.involved_object;
    let kind = about.kind.as_deref()?.to_ascii_lowercase();
    let name = about.name.as_deref().filter(|n| is_object_name(n))?;
    let series = event.series.as_ref();
    let exact = |t: &k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime| {
        DateTime::from_timestamp(t.0.as_second(), 0)
    };
    let last_seen = series
        .and_then(|s| exact(s.last_observed_time.as_ref()?))
        .or_else(|| time(event.last_timestamp.as_ref()))
        .or_else(|| exact(event.event_time.as_ref()?))
        .or_else(|| time(event.metadata.creation_timestamp.as_ref()))?;
    let count = series.and_then(|s| s.count).or(event.count).unwrap_or(1);
    Some(EventFact {
        object: format!("{}/{name}", clean(&kind, 63)),
        reason: word(event.reason.as_ref()),
        message: sentence(event.message.as_ref()),
        warning: event.type_.as_deref() == Some("Warning"),
        count: i64::from(count),
        last_seen,
    })
}

pub(super) fn quota(quota: &core::ResourceQuota) -> Option<QuotaFact> {
    let status = quota.status.as_ref()?;
    let line = |(resource, hard): (&String, &Quantity)| {
        let used = status.used.as_ref().and_then(|u| u.get(resource));
        let line = QuotaLine {
            hard: quantity(hard),
            used: used.map_or_else(|| "0".into(), quantity),
        };
        resource.is_ascii().then(|| (clean(resource, 100), line))
    };
    Some(QuotaFact {
        name: object_name(&quota.metadata)?,
        resources: status.hard.iter().flatten().filter_map(line).take(50).collect(),
    })
}

pub(super) fn autoscaler(scaler: &HorizontalPodAutoscaler) -> Option<AutoscalerFact> {
    let spec = &scaler.spec;
    let scaled = &spec.scale_target_ref;
    let name = Some(&scaled.name).filter(|n| is_object_name(n))?;
    Some(AutoscalerFact {
        name: object_name(&scaler.metadata)?,
        scales: format!("{}/{name}", clean(&scaled.kind.to_ascii_lowercase(), 63)),
        max: i64::from(spec.max_replicas),
    })
}

pub(super) fn node(node: &core::Node) -> Option<NodeFact> {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let conditions: Vec<_> = conditions.into_iter().flatten().collect();
    let holds = |c: &&&core::NodeCondition| c.status == "True";
    Some(NodeFact {
        name: object_name(&node.metadata)?,
        ready: conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
        unschedulable: node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false),
        pressures: conditions
            .iter()
            .filter(|c| c.type_.ends_with("Pressure"))
            .filter(holds)
            .map(|c| clean(&c.type_, 40))
            .collect(),
    })
}

fn object_name(meta: &ObjectMeta) -> Option<String> {
    meta.name.clone().filter(|n| is_object_name(n))
}

/// The deployment controller keeps the revision in an annotation and nowhere else. It is read as a number that must
/// belong to exactly one replica set before anything is done with it.
fn revision(meta: &ObjectMeta) -> Option<i64> {
    let text = meta.annotations.as_ref()?.get(REVISION)?;
    text.parse().ok().filter(|n| (1..=1_000_000_000).contains(n))
}

/// Tools that own the object's fields, by the keys that they leave; what the keys say is not read.
fn managers(meta: &ObjectMeta) -> Vec<String> {
    let key = |wanted: &str| {
        let has = |map: &Option<BTreeMap<String, String>>| {
            map.as_ref()
                .is_some_and(|m| m.keys().any(|k| k.starts_with(wanted)))
        };
        has(&meta.annotations) || has(&meta.labels)
    };
    [
        ("argocd", key("argocd.argoproj.io/")),
        (
            "flux",
            key("kustomize.toolkit.fluxcd.io/") || key("helm.toolkit.fluxcd.io/"),
        ),
        ("helm", key("meta.helm.sh/")),
    ]
    .into_iter()
    .filter(|(_, found)| *found)
    .map(|(name, _)| name.to_owned())
    .collect()
}

fn labels(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let all = meta.labels.iter().flatten().filter(|(key, _)| key.is_ascii());
    all.take(MAX_LABELS)
        .map(|(key, value)| (clean(key, 317), clean(value, 63)))
        .collect()
}

fn condition(
    kind: &str,
    status: &str,
    reason: Option<&String>,
    message: Option<&String>,
    since: Option<&Time>,
) -> Condition {
    Condition {
        r#type: clean(kind, 63),
        status: clean(status, 10),
        reason: word(reason),
        message: sentence(message),
        since: time(since),
    }
}

fn word(text: Option<&String>) -> String {
    clean(text.map_or("", String::as_str), 80)
}

fn sentence(text: Option<&String>) -> String {
    clean(text.map_or("", String::as_str), 400)
}

fn quantity(quantity: &Quantity) -> String {
    clean(&quantity.0, 40)
}

fn time(time: Option<&Time>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time?.0.as_second(), 0)
}
