//! The fixture world: a shop with `checkout` and `payments`, at noon on 2 March 2026, when an alert begins to fire.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::{
    context::{
        self, Collected, Focus, GitReadError, GitReader, MetricFact, MetricRole, Point, RawKubernetes,
        SeriesFact, Snapshot, SourceStatus,
    },
    domain::{ContextRef, GitPlace, KubernetesPlace, SecretRef, Target, TargetId, TargetMode},
    intake::signal::{SignalFacts, SignalStatus},
};

pub(super) const CHECKOUT: &str = "deploy/checkout.yaml";
pub(super) const PAYMENTS: &str = "deploy/payments.yaml";
pub(super) const FLAGS: &str = "deploy/flags.yaml";

/// When the alert began to fire.
pub(super) fn noon() -> DateTime<Utc> {
    "2026-03-02T12:00:00Z".parse().expect("a time")
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/diagnose/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A commit of the fixture repository: minutes before noon, and what its files became.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) minutes_before: i64,
    pub(super) subject: String,
    pub(super) author: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) merge: bool,
}

/// A repository in memory that prints what git prints.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) commits: Vec<Made>,
    pub(super) broken: bool,
}

impl Repository {
    fn new() -> Self {
        let files = [CHECKOUT, PAYMENTS, FLAGS, "README.md"];
        let first = Made {
            minutes_before: 3 * 24 * 60,
            subject: "Import the shop".into(),
            author: "Dana".into(),
            files: files
                .iter()
                .map(|p| ((*p).to_owned(), fixture(&format!("repo/{p}"))))
                .collect(),
            merge: false,
        };
        Self {
            commits: vec![first],
            broken: false,
        }
    }

    /// Commits `path` with `from` replaced by `to`.
    pub(super) fn edit(&mut self, minutes_before: i64, subject: &str, path: &str, from: &str, to: &str) {
        let old = self.file_at(self.commits.len() - 1, path).unwrap_or_default();
        assert!(from.is_empty() || old.contains(from), "{path} holds no {from}");
        let new = if from.is_empty() {
            to.to_owned()
        } else {
            old.replace(from, to)
        };
        self.commits.push(Made {
            minutes_before,
            subject: subject.into(),
            author: "Robin".into(),
            files: [(path.to_owned(), new)].into(),
            merge: false,
        });
    }

    pub(super) fn id(index: usize) -> String {
        format!("{:040x}", 0x00c0_ffee_0000_u64 + index as u64)
    }

    fn index(&self, rev: &str) -> usize {
        (0..self.commits.len())
            .find(|i| Self::id(*i) == rev)
            .expect("a known revision")
    }

    fn file_at(&self, index: usize, path: &str) -> Option<String> {
        self.commits[..=index]
            .iter()
            .rev()
            .find_map(|c| c.files.get(path).cloned())
    }
}

#[async_trait]
impl GitReader for Repository {
    async fn log(&self, _: &GitPlace, max: u32) -> Result<String, GitReadError> {
        if self.broken {
            return Err(GitReadError(
                "fatal: could not read from remote repository".into(),
            ));
        }
        let mut out = String::new();
        for (index, commit) in self.commits.iter().enumerate().rev().take(max as usize) {
            let parents = match (index, commit.merge) {
                (0, _) => String::new(),
                (_, false) => Self::id(index - 1),
                (_, true) => format!("{} {}", Self::id(index - 1), Self::id(0)),
            };
            let time = noon() - Duration::minutes(commit.minutes_before);
            let (author, subject) = (&commit.author, &commit.subject);
            out += &format!(
                "commit {}\nparents {parents}\nauthor {author}\ntime {}\nsubject {subject}\n\n",
                Self::id(index),
                time.to_rfc3339()
            );
            for path in commit.files.keys() {
                let known = index > 0 && self.file_at(index - 1, path).is_some();
                out += &format!("{}\t{path}\n", if known { 'M' } else { 'A' });
            }
            out.push('\n');
        }
        Ok(out)
    }

    async fn show(&self, _: &GitPlace, commit: &str) -> Result<String, GitReadError> {
        let made = &self.commits[self.index(commit)];
        let mut out = format!("commit {commit}\n\n");
        for (path, text) in &made.files {
            out += &format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n");
            out.extend(text.lines().map(|line| format!("+{line}\n")));
        }
        Ok(out)
    }

    async fn list(&self, _: &GitPlace, rev: &str) -> Result<String, GitReadError> {
        let index = self.index(rev);
        let paths = self.commits[..=index].iter().flat_map(|c| c.files.keys());
        let unique: std::collections::BTreeSet<_> = paths.collect();
        Ok(unique.into_iter().map(|p| format!("{p}\n")).collect())
    }

    async fn file(&self, _: &GitPlace, rev: &str, path: &str) -> Result<String, GitReadError> {
        self.file_at(self.index(rev), path)
            .ok_or_else(|| GitReadError(format!("{path} is not in {rev}")))
    }
}

/// Everything that a case may change.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) target: Target,
    pub(super) signal: SignalFacts,
    pub(super) repository: Repository,
    pub(super) objects: Value,
    pub(super) metrics: Vec<MetricFact>,
    pub(super) sources: Vec<SourceStatus>,
}

impl World {
    /// All is well, but an alert fires.
    pub(super) fn new() -> Self {
        Self {
            target: target(),
            signal: signal(),
            repository: Repository::new(),
            objects: serde_json::from_str(&fixture("world.json")).expect("world.json"),
            metrics: vec![ratio("checkout", "0.001", 60, "0.001")],
            sources: Vec::new(),
        }
    }

    /// Puts the cluster into a state of `states.json`.
    pub(super) fn state(&mut self, name: &str) {
        let states: Value = serde_json::from_str(&fixture("states.json")).expect("states.json");
        for (pointer, value) in states[name]
            .as_object()
            .unwrap_or_else(|| panic!("no state {name}"))
        {
            self.set(pointer, value.clone());
        }
    }

    /// Sets one field, which need not be there yet.
    pub(super) fn set(&mut self, pointer: &str, value: Value) {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self
            .objects
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("no {pointer}"));
        match parent {
            Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
            Value::Object(map) => drop(map.insert(key.to_owned(), value)),
            other => panic!("{pointer}: {other}"),
        }
    }

    /// Requests to checkout fail since `minutes_before` noon.
    pub(super) fn failing_since(&mut self, minutes_before: i64) {
        self.metrics = vec![ratio("checkout", "0.42", minutes_before, "0.001")];
    }

    /// The commit of the story: the pool is set to nothing, ten minutes before the alert.
    pub(super) fn bad_commit(&mut self) -> String {
        self.repository.edit(
            10,
            "checkout: tune the connection pool",
            CHECKOUT,
            "value: \"20\"",
            "value: \"0\"",
        );
        self.failing_since(8);
        Repository::id(self.repository.commits.len() - 1)
    }

    /// No cluster and no Prometheus: as in a GitOps-only target.
    pub(super) fn without_cluster(&mut self) {
        self.target.kubernetes = None;
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let taken_at = noon() + Duration::minutes(2);
        let focus = Focus::of_signal(&self.signal);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let tenant = "default".parse().expect("a tenant");
        let git = self.target.git.as_ref().expect("a repository");
        let (git, mut sources) = runtime.block_on(context::collect_git(
            &self.repository,
            git,
            "shop",
            focus.since,
            taken_at,
        ));
        let raw: RawKubernetes = raw(&self.objects);
        let kubernetes = self
            .target
            .kubernetes
            .is_some()
            .then(|| context::kubernetes_facts(&raw));
        for name in context::KUBERNETES_SOURCES {
            sources.push(match kubernetes {
                Some(_) => SourceStatus::available(name, taken_at, false),
                None => SourceStatus::not_configured(name),
            });
        }
        for metric in &self.metrics {
            sources.push(SourceStatus::available(
                format!("prometheus.{}", metric.name),
                taken_at,
                false,
            ));
        }
        // What a case says of a source wins.
        sources.retain(|s| !self.sources.iter().any(|own| own.name == s.name));
        sources.extend(self.sources.clone());
        let collected = Collected {
            git,
            kubernetes,
            metrics: self.metrics.clone(),
            sources,
        };
        context::assemble(&tenant, &self.target, &focus, collected, taken_at)
    }

    pub(super) fn diagnose(&self) -> crate::diagnose::Diagnosis {
        let snapshot = self.snapshot();
        let (bytes, digest) = snapshot.seal().expect("every snapshot has a canonical form");
        assert_eq!(context::digest_of(&bytes), digest);
        let opened = Snapshot::open(&bytes).expect("what was sealed opens");
        assert_eq!(opened, snapshot);
        crate::diagnose::run(&self.signal, &opened, &self.target)
    }
}

fn raw(objects: &Value) -> RawKubernetes {
    fn list<T: serde::de::DeserializeOwned>(objects: &Value, key: &str) -> Vec<T> {
        serde_json::from_value(objects[key].clone()).unwrap_or_else(|e| panic!("{key}: {e}"))
    }
    RawKubernetes {
        pods: list(objects, "pods"),
        deployments: list(objects, "deployments"),
        replica_sets: list(objects, "replica_sets"),
        events: list(objects, "events"),
        quotas: list(objects, "quotas"),
        autoscalers: list(objects, "autoscalers"),
        nodes: list(objects, "nodes"),
    }
}

/// An error ratio that was `before` until `since` minutes before noon, and is `now` from then on.
pub(super) fn ratio(service: &str, now: &str, since: i64, before: &str) -> MetricFact {
    let point = |minute: i64| Point {
        at: noon() + Duration::minutes(minute),
        value: if minute < -since {
            before.to_owned()
        } else {
            now.to_owned()
        },
    };
    let labels = [("service".to_owned(), service.to_owned())];
    MetricFact {
        name: format!("error_ratio/{service}"),
        role: MetricRole::ErrorRatio,
        subject: service.to_owned(),
        expr: format!("http_requests_error_ratio{{service=\"{service}\"}}"),
        series: vec![SeriesFact {
            labels: labels.into(),
            value: now.to_owned(),
            at: noon() + Duration::minutes(2),
            history: (-60..=2).map(point).collect(),
        }],
    }
}

/// Every pod of checkout at this share of a limit.
pub(super) fn saturation(role: MetricRole, name: &str, values: &[&str]) -> MetricFact {
    let series = values.iter().enumerate().map(|(pod, value)| SeriesFact {
        labels: [("pod".to_owned(), format!("checkout-{pod}"))].into(),
        value: (*value).to_owned(),
        at: noon() + Duration::minutes(2),
        history: Vec::new(),
    });
    MetricFact {
        name: name.to_owned(),
        role,
        subject: "checkout".into(),
        expr: String::new(),
        series: series.collect(),
    }
}

fn signal() -> SignalFacts {
    SignalFacts {
        source: "alertmanager".into(),
        fingerprint: "5ef1c2ad0c9e4b7d".into(),
        alertname: "CheckoutHighErrorRate".into(),
        severity: "critical".into(),
        service: Some("checkout".into()),
        labels: [
            ("alertname", "CheckoutHighErrorRate"),
            ("service", "checkout"),
            ("severity", "critical"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        starts_at: noon(),
        ends_at: None,
        status: SignalStatus::Firing,
    }
}

fn target() -> Target {
    let id: uuid::Uuid = "01980000-0000-7000-8000-000000000001".parse().expect("a uuid");
    Target {
        target_id: TargetId::from_uuid(id),
        name: "shop-prod".into(),
        version: 1,
        context: ContextRef {
            tenant_id: "default".into(),
            environment: "prod".into(),
            cluster_id: "prod-1".into(),
            namespace: "shop".into(),
            ..ContextRef::default()
        },
        mode: TargetMode::Act,
        protected: false,
        git: Some(GitPlace {
            url: "https://git.example/shop/deploy.git".into(),
            branch: "main".into(),
            path: "deploy".into(),
            read_credential: None,
            write_credential: None,
            ca_certificates: None,
        }),
        prometheus_url: Some("http://prometheus.example:9090".into()),
        kubernetes: Some(KubernetesPlace {
            read_credential: SecretRef::Env("KUBECONFIG_TEXT".into()),
            write_credential: None,
            context: "prod-1".into(),
        }),
        services: [("checkout".to_owned(), "deployment/checkout".to_owned())].into(),
    }
}

/// A label or two, for cases that need them.
pub(super) fn labels(world: &mut World, pairs: &[(&str, &str)]) {
    world
        .signal
        .labels
        .extend(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
}

/// Marks the deployment as managed by a tool.
pub(super) fn managed_by_argo(world: &mut World) {
    world.set(
        "/deployments/0/metadata/annotations",
        json!({
            "deployment.kubernetes.io/revision": "12",
            "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout",
        }),
    );
}
