//! Worlds in which something changed: images, limits, probes, commits that are to blame and commits that only look so.

use super::{
    cases::{
        Case,
        Expect::{Healthy, Known, Unknown},
        REVERT,
    },
    world::{CHECKOUT, FLAGS, PAYMENTS, managed_by_argo},
};
use crate::diagnose::Rule;

pub(super) const CASES: &[Case] = &[
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
];
