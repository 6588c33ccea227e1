//! R1 to R16.

use serde_json::json;

use super::Proof::{Full, GitHub, Quick, Read};
use super::Row;
use crate::delivery::checks::{chart, compose, dockerfile, lints, migrations, workflow::Workflow};

pub const ROWS: &[Row] = &[
    Row {
        id: "R1",
        says: "Pin the build image more precisely",
        here: "Builder and base by exact, dated tags; `cargo xtask images pin` appends digests where a registry answers.",
        files: &["Dockerfile", "xtask/src/images/pin.rs"],
        proofs: &[
            Read(dockerfile::bases_are_exact),
            Quick("images lint"),
            super::Proof::Absent(
                "digests are not in the file yet: they are a registry's to say, and none can be asked here",
            ),
        ],
    },
    Row {
        id: "R2",
        says: "One shared image or stage for the command lines",
        here: "Stage `tools`.",
        files: &["Dockerfile", "docker/tools/install.sh"],
        proofs: &[Read(dockerfile::tools_are_installed_once), Quick("images lint")],
    },
    Row {
        id: "R3",
        says: "The same program for every HEALTHCHECK",
        here: "`carapulse healthcheck --role R`.",
        files: &["Dockerfile"],
        proofs: &[
            Read(dockerfile::health_checks_need_no_other_program),
            Full("images"),
        ],
    },
    Row {
        id: "R4",
        says: "No Docker socket in a container",
        here: "No file of the delivery mounts one; jobs run in the sandbox role.",
        files: &["compose/compose.yaml", "chart", "Dockerfile"],
        proofs: &[Read(compose::no_socket_anywhere), Quick("compose config")],
    },
    Row {
        id: "R5",
        says: "Explicit networks",
        here: "Only the tool-router shares one with the sandbox.",
        files: &["compose/compose.yaml"],
        proofs: &[
            Read(compose::networks_are_explicit),
            Quick("compose config"),
            Full("compose smoke"),
        ],
    },
    Row {
        id: "R6",
        says: "A health check for OPA",
        here: "",
        files: &["compose/compose.yaml"],
        proofs: &[
            Read(|files| compose::health_check_calls(files, "opa", "")),
            Full("compose smoke"),
        ],
    },
    Row {
        id: "R7",
        says: "Restrict egress of the network policies",
        here: "Default deny; each role an allow-list. Who could reach whom is worked out from the policies; whether a \
               network drops the rest is a matter of the cluster's network plug-in, and not tried here.",
        files: &["chart/templates/networkpolicy.yaml"],
        proofs: &[
            Read(chart::egress_is_closed),
            Quick("chart reach"),
            super::Proof::Absent("no network that enforces policies was at hand"),
        ],
    },
    Row {
        id: "R8",
        says: "Probes for the orchestrator",
        here: "Each role has liveness, readiness and startup over HTTP.",
        files: &["chart/templates/orchestrator-deployment.yaml"],
        proofs: &[
            Read(chart::every_workload_has_probes),
            Quick("chart snapshot"),
            Quick("chart install"),
        ],
    },
    Row {
        id: "R9",
        says: "icon, maintainers, home in Chart.yaml",
        here: "",
        files: &["chart/Chart.yaml", "chart/icon.svg"],
        proofs: &[Read(chart::metadata_is_whole), Quick("chart lint")],
    },
    Row {
        id: "R10",
        says: "Document that the migration Job runs the gateway's image",
        here: "In the Dockerfile, in docs/images.md and in the chart's values.",
        files: &["Dockerfile", "docs/images.md", "chart/values.yaml"],
        proofs: &[Read(chart::migration_image_is_explained)],
    },
    Row {
        id: "R11",
        says: "A security linter such as gosec",
        here: "Clippy lints for what ships (table in xtask/src/lint.rs, with gosec's numbers), fences, cargo-deny.",
        files: &["xtask/src/lint.rs", "deny.toml", "clippy.toml"],
        proofs: &[
            Read(|files| {
                let root = files.text("Cargo.toml")?;
                lints::unsafe_is_forbidden(&root, &[("Cargo.toml", &root)])?;
                Workflow::read(files, "ci")?.runs("lint", "cargo xtask lint --advisories")
            }),
            Quick("lint --dependencies"),
            Full("lint"),
            GitHub("known vulnerabilities: their database is a repository on GitHub"),
        ],
    },
    Row {
        id: "R12",
        says: "Images only after CI passed",
        here: "docker.yml has no trigger but ci.yml, where `images` waits for every job.",
        files: &[".github/workflows/ci.yml", ".github/workflows/docker.yml"],
        proofs: &[
            Read(|files| {
                let ci = Workflow::read(files, "ci")?;
                ci.waits_for_all_but("images", &["release"])?;
                ci.is("/jobs/release/needs", &json!(["images"]))?;
                Workflow::read(files, "docker")?.is("/on", &json!({ "workflow_call": null }))?;
                Workflow::read(files, "release")?.is("/on", &json!({ "workflow_call": null }))
            }),
            Quick("workflows"),
        ],
    },
    Row {
        id: "R13",
        says: "End to end beyond health: create a plan, list plans",
        here: "Create, list, approve, execute, verify, roll back, by the public API on a real cluster; and a plan run to \
               success on the Compose installation.",
        files: &[
            ".github/workflows/e2e.yml",
            "tests/e2e/by_hand.rs",
            "tests/e2e/roll_out.rs",
        ],
        proofs: &[
            Read(|files| {
                let e2e = Workflow::read(files, "e2e")?;
                e2e.runs("real-servers", "cargo xtask test --real")?;
                e2e.runs("compose", "cargo xtask compose smoke")
            }),
            Full("test --real"),
            Full("compose smoke"),
        ],
    },
    Row {
        id: "R14",
        says: "Publish coverage, and gate it",
        here: "Artifact and page of the run; a floor in coverage.toml, at least 80, that is only raised.",
        files: &[
            "coverage.toml",
            "xtask/src/coverage/mod.rs",
            ".github/workflows/ci.yml",
        ],
        proofs: &[
            Read(|files| {
                crate::coverage::floor()?;
                let ci = Workflow::read(files, "ci")?;
                ci.runs("test", "cargo xtask coverage")?;
                ci.runs("test", "GITHUB_STEP_SUMMARY")?;
                ci.step("test", "actions/upload-artifact").map(drop)
            }),
            Full("coverage"),
            GitHub("the artifact and the run's page"),
        ],
    },
    Row {
        id: "R15",
        says: "No placeholder among the migrations",
        here: "",
        files: &["migrations/up"],
        proofs: &[Read(migrations::none_is_a_placeholder)],
    },
    Row {
        id: "R16",
        says: "A time limit for the migrations' lock",
        here: "",
        files: &["src/store/migrate"],
        proofs: &[Read(migrations::locks_have_a_limit), Full("test migrate")],
    },
];
