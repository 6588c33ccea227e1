//! Worlds of capacity and dependencies, and those in which nobody may conclude anything.

use chrono::Duration;
use serde_json::json;

use super::{
    cases::{
        Case,
        Expect::{Healthy, Known, Unknown},
        REVERT,
    },
    world::{CHECKOUT, PAYMENTS, labels, noon, ratio, saturation},
};
use crate::{
    context::{MetricFact, MetricRole, SourceStatus},
    diagnose::Rule,
    intake::signal::SignalStatus,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "CPU used up",
        make: |w| {
            w.metrics.push(saturation(
                MetricRole::CpuSaturation,
                "cpu_saturation/checkout",
                &["0.97", "0.99", "0.95"],
            ));
        },
        expect: Known(Rule::Saturation, None),
    },
    Case {
        name: "CPU used up, the repository leaves the replicas open",
        make: |w| {
            w.metrics.push(saturation(
                MetricRole::CpuSaturation,
                "cpu_saturation/checkout",
                &["0.97", "0.99", "0.95"],
            ));
            w.repository
                .edit(3000, "let it scale", CHECKOUT, "  replicas: 3\n", "");
        },
        expect: Known(Rule::Saturation, Some("scale deployment/checkout from 3 to 4")),
    },
    Case {
        name: "CPU used up, but an autoscaler owns the replicas",
        make: |w| {
            w.state("autoscaled");
            w.metrics.push(saturation(
                MetricRole::CpuSaturation,
                "cpu_saturation/checkout",
                &["0.97", "0.99", "0.95"],
            ));
            w.repository
                .edit(3000, "let it scale", CHECKOUT, "  replicas: 3\n", "");
        },
        expect: Known(Rule::Saturation, None),
    },
    Case {
        name: "one busy pod is no saturation",
        make: |w| {
            w.metrics.push(saturation(
                MetricRole::CpuSaturation,
                "cpu_saturation/checkout",
                &["0.97", "0.20", "0.10"],
            ));
        },
        expect: Healthy,
    },
    Case {
        name: "failing dependency",
        make: |w| {
            w.state("payments_crash");
            w.failing_since(8);
            w.metrics.push(dependency("0.9"));
        },
        expect: Known(Rule::FailingDependency, None),
    },
    Case {
        name: "failing dependency after a commit to it",
        make: |w| {
            w.state("payments_crash");
            w.failing_since(8);
            w.repository
                .edit(12, "payments: fewer workers", PAYMENTS, "\"8\"", "\"-1\"");
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "a roll-out with no repository behind it",
        make: |w| {
            w.state("rollout_crash");
            w.repository.commits[0]
                .files
                .insert(CHECKOUT.into(), "# moved away\n".into());
        },
        expect: Known(
            Rule::CrashLoop,
            Some("roll deployment/checkout back to revision 11"),
        ),
    },
    Case {
        name: "a roll-out that the repository does not explain",
        make: |w| w.state("rollout_crash"),
        expect: Known(Rule::CrashLoop, None),
    },
    Case {
        name: "replicas missing, no reason given",
        make: |w| w.state("missing_one"),
        expect: Unknown("no cause"),
    },
    Case {
        name: "an alert that names no known service",
        make: |w| w.signal.service = Some("billing".into()),
        expect: Unknown("no known service"),
    },
    Case {
        name: "an alert that names nothing",
        make: |w| w.signal.service = None,
        expect: Unknown("names no service"),
    },
    Case {
        name: "an alert that names two workloads",
        make: |w| labels(w, &[("deployment", "payments")]),
        expect: Unknown("several workloads"),
    },
    Case {
        name: "an alert about another namespace",
        make: |w| labels(w, &[("namespace", "billing")]),
        expect: Unknown("namespace `billing`"),
    },
    Case {
        name: "an alert that names its pod",
        make: |w| {
            w.state("oom");
            w.signal.service = Some("kube-state-metrics".into());
            labels(w, &[("pod", "checkout-6d9f7c5b8-2xkqp"), ("namespace", "shop")]);
        },
        expect: Known(Rule::Oom, None),
    },
    Case {
        name: "the repository cannot be read",
        make: |w| {
            w.state("crash_loop");
            w.repository.broken = true;
        },
        expect: Unknown("git.log"),
    },
    Case {
        name: "pods are stale",
        make: |w| {
            w.bad_commit();
            w.sources.push(SourceStatus::available(
                "kubernetes.pods",
                noon() - Duration::minutes(30),
                false,
            ));
        },
        expect: Unknown("kubernetes.pods"),
    },
    Case {
        name: "Prometheus is down",
        make: |w| {
            w.bad_commit();
            w.metrics.clear();
            w.sources.push(SourceStatus::unavailable(
                "prometheus.error_ratio/checkout",
                "connection refused",
            ));
        },
        expect: Unknown("prometheus.error_ratio/checkout"),
    },
    Case {
        name: "nothing measures it",
        make: |w| {
            w.bad_commit();
            w.metrics = vec![MetricFact {
                series: Vec::new(),
                ..ratio("checkout", "0", 0, "0")
            }];
        },
        expect: Unknown("no metric says"),
    },
    Case {
        name: "not a number",
        make: |w| w.metrics = vec![ratio("checkout", "NaN", 60, "NaN")],
        expect: Unknown("no metric says"),
    },
    Case {
        name: "the API contradicts itself",
        make: |w| {
            w.bad_commit();
            w.state("contradiction");
        },
        expect: Unknown("none of its pods is ready"),
    },
    Case {
        name: "the controller has not caught up",
        make: |w| {
            w.bad_commit();
            w.set("/deployments/0/metadata/generation", json!(8));
        },
        expect: Unknown("changed while we looked"),
    },
    Case {
        name: "the alert is over",
        make: |w| w.signal.status = SignalStatus::Resolved,
        expect: Unknown("over"),
    },
    Case {
        name: "the snapshot is older than the alert",
        make: |w| w.signal.starts_at = noon() + Duration::hours(1),
        expect: Unknown("older than the alert"),
    },
];

fn dependency(value: &str) -> MetricFact {
    let mut metric = ratio("checkout", value, 8, "0");
    metric.name = "dependency_error_ratio/checkout".into();
    metric.role = MetricRole::DependencyErrorRatio;
    metric.series[0]
        .labels
        .insert("dependency".into(), "payments".into());
    metric
}
