//! One table: a world, and what must be said about it.

use chrono::Duration;
use serde_json::json;

use super::world::{
    CHECKOUT, FLAGS, PAYMENTS, Repository, World, labels, managed_by_argo, noon, ratio, saturation,
};
use crate::{
    context::{MetricFact, MetricRole, SourceStatus},
    diagnose::{Diagnosis, Remedy, Rule, SuspectChange, Verdict},
    intake::signal::SignalStatus,
};

/// What must come out.
enum Expect {
    /// This rule comes first, with this remedy (as shown to people).
    Known(Rule, Option<&'static str>),
    Healthy,
    /// The reason holds these words.
    Unknown(&'static str),
}
use Expect::{Healthy, Known, Unknown};

struct Case {
    name: &'static str,
    make: fn(&mut World),
    expect: Expect,
}

const REVERT: Option<&str> = Some("revert 000000000000 on main");

const CASES: &[Case] = &[
    Case {
        name: "healthy",
        make: |_| {},
        expect: Healthy,
    },
    Case {
        name: "healthy, oom days ago",
        make: |w| w.state("oom_long_ago"),
        expect: Healthy,
    },
    Case {
        name: "healthy, docs committed",
        make: |w| w.repository.edit(5, "docs", "README.md", "# ", "## "),
        expect: Healthy,
    },
    Case {
        name: "healthy, a commit without harm",
        make: |w| w.repository.edit(10, "flags", FLAGS, "\"off\"", "\"on\""),
        expect: Healthy,
    },
    Case {
        name: "image pull",
        make: |w| w.state("image_pull"),
        expect: Known(Rule::ImagePull, None),
    },
    Case {
        name: "image pull after a commit of the image",
        make: |w| {
            w.state("image_pull");
            w.repository.edit(
                12,
                "checkout 1.9",
                CHECKOUT,
                "checkout:1.8.2",
                "checkout:1.9.0-typo",
            );
        },
        expect: Known(Rule::ImagePull, REVERT),
    },
    Case {
        name: "image pull, but the last commit changed replicas",
        make: |w| {
            w.state("image_pull");
            w.repository
                .edit(200, "scale", CHECKOUT, "replicas: 3", "replicas: 2");
        },
        expect: Known(Rule::ImagePull, None),
    },
    Case {
        name: "crash loop",
        make: |w| w.state("crash_loop"),
        expect: Known(Rule::CrashLoop, None),
    },
    Case {
        name: "crash loop after a commit of a config map",
        make: |w| {
            w.state("crash_loop");
            w.repository.edit(12, "flags", FLAGS, "\"off\"", "\"{broken\"");
        },
        expect: Known(Rule::CrashLoop, REVERT),
    },
    Case {
        name: "oom, from the last state",
        make: |w| w.state("oom"),
        expect: Known(Rule::Oom, None),
    },
    Case {
        name: "oom while it runs again",
        make: |w| w.state("oom_running"),
        expect: Known(Rule::Oom, None),
    },
    Case {
        name: "oom after a commit of the limit",
        make: |w| {
            w.state("oom");
            w.repository
                .edit(15, "save memory", CHECKOUT, "memory: 512Mi", "memory: 64Mi");
        },
        expect: Known(Rule::Oom, REVERT),
    },
    Case {
        name: "one pod's probe fails, its twins are well",
        make: |w| w.state("failing_probe"),
        expect: Known(Rule::FailingProbe, Some("restart deployment/checkout")),
    },
    Case {
        name: "every pod's probe fails",
        make: |w| w.state("failing_probe_all"),
        expect: Known(Rule::FailingProbe, None),
    },
    Case {
        name: "every pod's probe fails after a commit of the probe",
        make: |w| {
            w.state("failing_probe_all");
            w.repository
                .edit(15, "health", CHECKOUT, "path: /ready", "path: /healthz");
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "unschedulable",
        make: |w| w.state("unschedulable"),
        expect: Known(Rule::Unschedulable, None),
    },
    Case {
        name: "quota",
        make: |w| w.state("quota"),
        expect: Known(Rule::Quota, None),
    },
    Case {
        name: "scaled to zero",
        make: |w| w.state("scaled_to_zero"),
        expect: Known(
            Rule::MissingReplicas,
            Some("scale deployment/checkout from 0 to 3"),
        ),
    },
    Case {
        name: "scaled to zero, but Argo CD owns it",
        make: |w| {
            w.state("scaled_to_zero");
            managed_by_argo(w);
        },
        expect: Known(Rule::MissingReplicas, None),
    },
    Case {
        name: "bad commit",
        make: |w| drop(w.bad_commit()),
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "bad commit, with no cluster to see",
        make: |w| {
            w.bad_commit();
            w.without_cluster();
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "misleading last commit: docs",
        make: |w| {
            w.bad_commit();
            w.repository
                .edit(2, "checkout: fix the outage", "README.md", "# The", "# Our");
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "misleading last commit: another service",
        make: |w| {
            w.bad_commit();
            w.repository
                .edit(2, "checkout broken, revert me", PAYMENTS, "\"8\"", "\"16\"");
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "misleading last commit: after the alert began",
        make: |w| {
            w.bad_commit();
            w.repository
                .edit(-1, "try more memory", CHECKOUT, "memory: 512Mi", "memory: 1Gi");
        },
        expect: Known(Rule::BadCommit, REVERT),
    },
    Case {
        name: "misleading last commit: after the errors began",
        make: |w| {
            w.failing_since(40);
            w.repository
                .edit(10, "checkout 1.9", CHECKOUT, "checkout:1.8.2", "checkout:1.9.0");
        },
        expect: Unknown("nothing that was looked at explains it"),
    },
    Case {
        name: "a commit that only comments",
        make: |w| {
            w.failing_since(8);
            w.repository.edit(
                10,
                "comment",
                CHECKOUT,
                "spec:\n  replicas",
                "# three is enough\nspec:\n  replicas",
            );
        },
        expect: Unknown("nothing that was looked at explains it"),
    },
    Case {
        name: "already repaired, not yet rolled out",
        make: |w| {
            w.bad_commit();
            w.repository
                .edit(-1, "restore the pool", CHECKOUT, "value: \"0\"", "value: \"20\"");
        },
        expect: Unknown("nothing that was looked at explains it"),
    },
    Case {
        name: "two commits, equally likely",
        make: |w| {
            w.repository
                .edit(12, "image", CHECKOUT, "checkout:1.8.2", "checkout:1.9.0");
            w.bad_commit();
        },
        expect: Unknown("equally likely"),
    },
    Case {
        name: "bad commit that is a merge",
        make: |w| {
            w.bad_commit();
            w.repository.commits.last_mut().expect("a commit").merge = true;
        },
        expect: Known(Rule::BadCommit, None),
    },
    Case {
        name: "bad commit that changes another service, too",
        make: |w| {
            w.bad_commit();
            let payments =
                std::fs::read_to_string("tests/fixtures/diagnose/repo/deploy/payments.yaml").expect("file");
            let last = w.repository.commits.last_mut().expect("a commit");
            last.files
                .insert(PAYMENTS.into(), payments.replace("\"8\"", "\"9\""));
        },
        expect: Known(Rule::BadCommit, None),
    },
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

/// The scorecard: every case right, no finding on a healthy world, and how often it says that it does not know.
#[test]
fn every_case_is_right() {
    let (mut wrong, mut false_positives, mut abstentions) = (Vec::new(), 0, 0);
    for case in CASES {
        let mut world = World::new();
        (case.make)(&mut world);
        let diagnosis = world.diagnose();
        abstentions += usize::from(matches!(diagnosis.verdict, Verdict::Unknown { .. }));
        false_positives += usize::from(matches!(case.expect, Healthy) && !diagnosis.findings.is_empty());
        if let Err(why) = judge(case, &diagnosis, &world) {
            wrong.push(format!(
                "{}: {why}\n{}",
                case.name,
                serde_json::to_string_pretty(&diagnosis).expect("JSON")
            ));
        }
    }
    println!(
        "diagnosis: {} cases, {} right, {false_positives} false positives on healthy, {abstentions} abstentions",
        CASES.len(),
        CASES.len() - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn judge(case: &Case, diagnosis: &Diagnosis, world: &World) -> Result<(), String> {
    let snapshot = serde_json::to_value(world.snapshot()).expect("JSON");
    for evidence in diagnosis.findings.iter().flat_map(|f| &f.evidence) {
        if snapshot.pointer(&evidence.pointer).is_none() {
            return Err(format!("evidence leads nowhere: {}", evidence.pointer));
        }
    }
    if diagnosis.findings.iter().any(|f| f.evidence.is_empty()) {
        return Err("a finding without evidence".into());
    }
    if diagnosis.remedy.is_some() && diagnosis.verdict != Verdict::Known {
        return Err("a remedy without a known cause".into());
    }
    let bytes = diagnosis.to_bytes().map_err(|e| e.to_string())?;
    if Diagnosis::from_bytes(&bytes).as_ref() != Ok(diagnosis) {
        return Err("does not read back".into());
    }
    match (&case.expect, &diagnosis.verdict) {
        (Healthy, Verdict::Healthy) if diagnosis.findings.is_empty() => Ok(()),
        (Unknown(words), Verdict::Unknown { why }) if why.contains(words) => Ok(()),
        (Known(rule, remedy), Verdict::Known) => {
            let first = diagnosis.findings.first().map(|f| f.rule);
            let shown = diagnosis.remedy.as_ref().map(ToString::to_string);
            if first != Some(*rule) {
                return Err(format!("first is {first:?}"));
            }
            if shown.as_deref() != *remedy {
                return Err(format!("remedy is {shown:?}"));
            }
            let told = diagnosis.remedy.is_some() != diagnosis.no_remedy_because.is_some();
            if told {
                Ok(())
            } else {
                Err("no remedy and no reason".into())
            }
        }
        (_, verdict) => Err(format!("verdict is {verdict:?}")),
    }
}

#[test]
fn the_story_of_the_demo() {
    let mut world = World::new();
    let bad = world.bad_commit();
    world.repository.edit(2, "docs", "README.md", "# The", "# Our");
    let diagnosis = world.diagnose();
    let wanted = Remedy::RevertCommit {
        repo: "https://git.example/shop/deploy.git".into(),
        branch: "main".into(),
        commit: bad.clone(),
        path: CHECKOUT.into(),
    };
    assert_eq!(diagnosis.remedy, Some(wanted));
    let first = &diagnosis.findings[0];
    assert!(
        first.title.ends_with("env[DB_POOL_SIZE]/value from 20 to 0"),
        "{}",
        first.title
    );
    let kinds: Vec<_> = first.evidence.iter().map(|e| e.source.as_str()).collect();
    assert_eq!(kinds, ["git.log", "prometheus.error_ratio/checkout"]);
    assert!(
        matches!(&diagnosis.suspect_change, Some(SuspectChange::Commit { commit, .. }) if *commit == bad)
    );
    assert_eq!(bad, Repository::id(1));
}
