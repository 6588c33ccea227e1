//! Y1 to Y13: what was wrong with the predecessor's delivery.

use super::Proof::{Full, GitHub, Quick, Read};
use super::Row;
use super::pipeline::{five_targets, trivy_blocks, well_kept};
use crate::delivery::checks::{chart, compose, dockerfile, workflow::Workflow};

pub const ROWS: &[Row] = &[
    Row {
        id: "Y1",
        says: "The migration Job needs a Secret and an account that do not exist at the first install",
        here: "They are hooks of lower weight.",
        files: &["chart/templates/migration-job.yaml"],
        proofs: &[Read(chart::job_finds_what_it_needs), Quick("chart install")],
    },
    Row {
        id: "Y2",
        says: "One account for every pod, reading every Secret; no right to scale or upgrade",
        here: "One account a role, none reads Secrets; write roles by namespace, when asked.",
        files: &["chart/templates/serviceaccount.yaml", "chart/templates/rbac.yaml"],
        proofs: &[
            Read(chart::one_account_each),
            Read(chart::rights_are_read_only),
            Quick("chart install"),
        ],
    },
    Row {
        id: "Y3",
        says: "The orchestrator's image lacks the command lines, is always unhealthy, exposes 7233",
        here: "It needs none: it asks the tool-router. Health over HTTP on 8085.",
        files: &["Dockerfile"],
        proofs: &[
            Read(|files| dockerfile::exposes(files, "orchestrator", "8085")),
            Full("images"),
        ],
    },
    Row {
        id: "Y4",
        says: "A Docker socket, for UID 10001 that may not use it; root on the host for who may",
        here: "The sandbox is a role without an engine.",
        files: &["compose/compose.yaml", "chart"],
        proofs: &[Read(compose::no_socket_anywhere), Full("compose smoke")],
    },
    Row {
        id: "Y5",
        says: "Shipped configurations lack authentication, tokens, the policy's package",
        here: "`carapulse init` makes every key and secret; what is shipped is what runs.",
        files: &["src/cli/init/mod.rs", "compose/compose.yaml"],
        proofs: &[Quick("chart config"), Full("compose smoke")],
    },
    Row {
        id: "Y6",
        says: "MinIO without a bucket and without credentials; the gateway's image lacks aws",
        here: "A bucket is made before any role starts; S3 is spoken by the executable.",
        files: &["compose/compose.yaml"],
        proofs: &[Read(compose::a_bucket_is_made), Full("compose smoke")],
    },
    Row {
        id: "Y7",
        says: "Trivy does not block, one architecture, downloads unverified, actions by tag, images not gated",
        here: "Each mended: 4.7, 4.11, 1.9, 4.23, R12.",
        files: &[".github/workflows/docker.yml", "docker/tools/install.sh"],
        proofs: &[
            Read(trivy_blocks),
            Read(five_targets),
            Read(well_kept),
            Quick("workflows"),
            GitHub("scan, signature, SBOM and provenance of what is pushed"),
        ],
    },
    Row {
        id: "Y8",
        says: "Egress open; orchestrator, agent and migration have no network policy",
        here: "Default deny, an allow-list for each, the Job included.",
        files: &[
            "chart/templates/networkpolicy.yaml",
            "chart/templates/migration-job.yaml",
        ],
        proofs: &[
            Read(chart::egress_is_closed),
            Read(|files| chart::renders(files, "NetworkPolicy", "agent")),
            Read(|files| chart::renders(files, "NetworkPolicy", "migration")),
            Quick("chart reach"),
        ],
    },
    Row {
        id: "Y9",
        says: "A Secret mounted by subPath is never refreshed",
        here: "Directories, and credentials are read again without a restart.",
        files: &["chart/templates/_workload.tpl"],
        proofs: &[Read(chart::nothing_by_sub_path), Quick("chart snapshot")],
    },
    Row {
        id: "Y10",
        says: "No HPA, no topology; schedulers and pollers run in every replica of the gateway",
        here: "Cyclic work is a leased row in the database, done by one orchestrator at a time.",
        files: &["chart/templates/hpa.yaml", "src/store/job.rs"],
        proofs: &[
            Read(|files| chart::renders(files, "HorizontalPodAutoscaler", "gateway")),
            Quick("chart snapshot"),
            Full("test job"),
        ],
    },
    Row {
        id: "Y11",
        says: "Namespaces and a Vault sidecar that the documents promise are not there",
        here: "Nothing is promised that is not there: one namespace a release, secrets by existingSecret.",
        files: &["docs/kubernetes.md"],
        proofs: &[Quick("chart install"), Quick("chart docs --check")],
    },
    Row {
        id: "Y12",
        says: "The end-to-end workflow is smoke only",
        here: "R13.",
        files: &[".github/workflows/e2e.yml"],
        proofs: &[
            Read(|files| Workflow::read(files, "e2e")?.runs("real-servers", "cargo xtask test --real")),
            Full("test --real"),
        ],
    },
    Row {
        id: "Y13",
        says: "No chart published, no archives, no changelog, no version stamped",
        here: "release.yml; `carapulse --version` is the crate's, which `release check` holds to tag, chart and changelog. \
               The commit is in the image's label and in the provenance, not in the executable: that would make it \
               differ from one folder to the next.",
        files: &[
            ".github/workflows/release.yml",
            "CHANGELOG.md",
            "xtask/src/release.rs",
        ],
        proofs: &[
            Read(|files| {
                let release = Workflow::read(files, "release")?;
                release.runs("check", "cargo xtask release check")?;
                release.runs("chart", "helm push")?;
                release.runs("publish", "sha256sum")?;
                release.runs("publish", "gh release create")
            }),
            Quick("release notes Unreleased"),
            GitHub("the release itself"),
        ],
    },
];
