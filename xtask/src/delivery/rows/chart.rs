//! Section 3: the chart.

use super::Proof::{Quick, Read};
use super::Row;
use crate::delivery::checks::chart as check;

const RENDERED: super::Proof = Quick("chart snapshot");
const INSTALLED: super::Proof = Quick("chart install");

/// Rendered by the values of the matrix that switch it on.
macro_rules! template {
    ($id:literal, $file:literal, $says:literal, $here:literal, $kind:literal, $name:literal) => {
        Row {
            id: $id,
            says: concat!("`", $file, "`: ", $says),
            here: $here,
            files: &[concat!("chart/templates/", $file)],
            proofs: &[
                Read(|files| check::renders(files, $kind, $name)),
                RENDERED,
                INSTALLED,
            ],
        }
    };
}

pub const ROWS: &[Row] = &[
    Row {
        id: "3.1",
        says: "`_helpers.tpl`: names, labels, images",
        here: "",
        files: &["chart/templates/_helpers.tpl"],
        proofs: &[Quick("chart lint"), RENDERED],
    },
    template!(
        "3.2",
        "serviceaccount.yaml",
        "account, made when asked",
        "One for each role.",
        "ServiceAccount",
        "orchestrator"
    ),
    template!(
        "3.3",
        "secret.yaml",
        "configuration as a Secret",
        "And `postgres-dsn`.",
        "Secret",
        "gateway"
    ),
    Row {
        id: "3.4",
        says: "`rbac.yaml`: read-only access to the cluster",
        here: "No Secrets; write roles only where a namespace is named.",
        files: &["chart/templates/rbac.yaml"],
        proofs: &[Read(check::rights_are_read_only), RENDERED, INSTALLED],
    },
    template!(
        "3.5",
        "gateway-deployment.yaml",
        "liveness, readiness",
        "",
        "Deployment",
        "gateway"
    ),
    template!(
        "3.6",
        "tool-router-deployment.yaml",
        "probes",
        "",
        "Deployment",
        "tool-router"
    ),
    template!(
        "3.7",
        "orchestrator-deployment.yaml",
        "no probes",
        "It has them: R8.",
        "Deployment",
        "orchestrator"
    ),
    template!(
        "3.8",
        "agent-deployment.yaml",
        "when enabled",
        "",
        "Deployment",
        "agent"
    ),
    template!(
        "3.9",
        "migration-job.yaml",
        "pre-install, pre-upgrade",
        "",
        "Job",
        "migration"
    ),
    template!(
        "3.10",
        "gateway-service.yaml",
        "HTTP and Canvas",
        "8080 and 8082.",
        "Service",
        "gateway"
    ),
    template!(
        "3.11",
        "tool-router-service.yaml",
        "HTTP",
        "8081.",
        "Service",
        "tool-router"
    ),
    template!(
        "3.12",
        "agent-service.yaml",
        "when enabled",
        "8090.",
        "Service",
        "agent"
    ),
    template!(
        "3.13",
        "gateway-ingress.yaml",
        "with TLS",
        "",
        "Ingress",
        "gateway"
    ),
    template!(
        "3.14",
        "networkpolicy.yaml",
        "gateway and tool-router",
        "Every role.",
        "NetworkPolicy",
        "orchestrator"
    ),
    template!(
        "3.15",
        "pdb.yaml",
        "gateway and tool-router",
        "",
        "PodDisruptionBudget",
        "gateway"
    ),
    Row {
        id: "3.16",
        says: "`NOTES.txt`: what to do next",
        here: "",
        files: &["chart/templates/NOTES.txt"],
        proofs: &[Quick("chart lint"), INSTALLED],
    },
    Row {
        id: "3.17",
        says: "`helm lint` passes",
        here: "With `--strict`, for each values file of the matrix.",
        files: &["chart/ci"],
        proofs: &[Quick("chart lint")],
    },
    Row {
        id: "3.18",
        says: "`helm template` renders everything",
        here: "Snapshots, and the schemas of several Kubernetes versions.",
        files: &["chart/ci/snapshots"],
        proofs: &[RENDERED, Quick("chart conform")],
    },
    Row {
        id: "3.19",
        says: "Fixed: the DSN is not a plain value of the Job",
        here: "Key `postgres-dsn` of a Secret.",
        files: &[
            "chart/templates/migration-job.yaml",
            "chart/templates/secret.yaml",
        ],
        proofs: &[Read(check::dsn_comes_from_a_secret), RENDERED],
    },
    Row {
        id: "3.20",
        says: "Configuration is a Secret, not a ConfigMap",
        here: "",
        files: &["chart/templates/secret.yaml"],
        proofs: &[Read(check::configuration_is_secret), RENDERED],
    },
    Row {
        id: "3.21",
        says: "`checksum/config` rolls pods when the configuration changes",
        here: "Credentials are read again from their directory without a roll-out.",
        files: &["chart/templates"],
        proofs: &[Read(check::configuration_is_summed), RENDERED],
    },
    Row {
        id: "3.22",
        says: "Security contexts: non-root, read-only root, no capabilities",
        here: "UID 10001, seccomp; admitted under the restricted Pod Security standard.",
        files: &["chart/templates/_workload.tpl"],
        proofs: &[Read(check::pods_are_confined), RENDERED, INSTALLED],
    },
    Row {
        id: "3.23",
        says: "`/tmp` is an emptyDir",
        here: "",
        files: &["chart/templates/_workload.tpl"],
        proofs: &[Read(check::tmp_is_writable), RENDERED],
    },
    Row {
        id: "3.24",
        says: "Hooks `pre-install,pre-upgrade`, weight -5",
        here: "",
        files: &["chart/templates/migration-job.yaml"],
        proofs: &[Read(check::job_is_a_hook), RENDERED, INSTALLED],
    },
    Row {
        id: "3.25",
        says: "Delete policy `before-hook-creation`",
        here: "",
        files: &["chart/templates/migration-job.yaml"],
        proofs: &[Read(check::job_is_a_hook), RENDERED],
    },
    Row {
        id: "3.26",
        says: "PDBs, configurable",
        here: "",
        files: &["chart/templates/pdb.yaml"],
        proofs: &[
            Read(|files| check::renders(files, "PodDisruptionBudget", "tool-router")),
            INSTALLED,
        ],
    },
    Row {
        id: "3.27",
        says: "Network policies, configurable",
        here: "On by default.",
        files: &["chart/templates/networkpolicy.yaml"],
        proofs: &[Read(check::egress_is_closed), Quick("chart reach")],
    },
    Row {
        id: "3.28",
        says: "RBAC is get, list, watch",
        here: "",
        files: &["chart/templates/rbac.yaml"],
        proofs: &[Read(check::rights_are_read_only), INSTALLED],
    },
];
