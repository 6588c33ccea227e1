//! Section 4: the workflows.

use anyhow::Result;
use serde_json::json;

use super::Proof::{GitHub, Quick, Read};
use super::Row;
use crate::delivery::checks::{dependabot, lints, workflow::Workflow, workflow::input, workflow_pins};
use crate::delivery::repository::Repository;

const CI: &[&str] = &[".github/workflows/ci.yml"];
const DOCKER: &[&str] = &[".github/workflows/docker.yml"];
const E2E: &[&str] = &[".github/workflows/e2e.yml"];
const NAMES: &[&str] = &["ci", "docker", "e2e", "release"];

fn job_runs(files: &Repository, workflow: &str, job: &str, commands: &[&str]) -> Result<()> {
    let workflow = Workflow::read(files, workflow)?;
    commands
        .iter()
        .try_for_each(|command| workflow.runs(job, command))
}

/// The five targets, each for two architectures.
pub fn five_targets(files: &Repository) -> Result<()> {
    let docker = Workflow::read(files, "docker")?;
    let targets = json!(["gateway", "tool-router", "orchestrator", "agent", "sandbox"]);
    docker.is("/jobs/image/strategy/matrix/target", &targets)?;
    docker.is("/jobs/image/strategy/matrix/arch", &json!(["amd64", "arm64"]))?;
    docker.is("/jobs/publish/strategy/matrix/target", &targets)
}

/// A critical or high finding ends the job before anything is pushed.
pub fn trivy_blocks(files: &Repository) -> Result<()> {
    let docker = Workflow::read(files, "docker")?;
    let scan = docker.step("image", "aquasecurity/trivy-action")?;
    input(scan, "severity", &json!("CRITICAL,HIGH"))?;
    input(scan, "exit-code", &json!("1"))?;
    input(scan, "format", &json!("sarif"))?;
    if scan.get("continue-on-error").is_some() {
        anyhow::bail!("a finding of Trivy does not end the job");
    }
    docker
        .step("image", "github/codeql-action/upload-sarif")
        .map(drop)
}

/// The token is used, nothing else; the registry is GitHub's.
fn pushes_with_the_job_s_token(files: &Repository) -> Result<()> {
    let docker = Workflow::read(files, "docker")?;
    docker.is("/env/REGISTRY", &json!("ghcr.io"))?;
    for job in ["image", "publish"] {
        let login = docker.step(job, "docker/login-action")?;
        input(login, "password", &json!("${{ secrets.GITHUB_TOKEN }}"))?;
    }
    Ok(())
}

fn caches_all_layers(files: &Repository) -> Result<()> {
    let docker = Workflow::read(files, "docker")?;
    for job in ["compile", "image"] {
        let build = docker.step(job, "docker/build-push-action")?;
        let to = build["with"]["cache-to"].as_str().unwrap_or_default();
        if !(to.starts_with("type=gha,") && to.contains("mode=max")) {
            anyhow::bail!("job `{job}` caches to `{to}`");
        }
    }
    Ok(())
}

/// Only what each job needs, in all four files.
pub fn permissions_are_minimal(files: &Repository) -> Result<()> {
    for name in NAMES {
        Workflow::read(files, name)?.permissions_are_minimal()?;
    }
    let images: &[&str] = &["attestations", "id-token", "packages", "security-events"];
    let release: &[&str] = &["attestations", "contents", "id-token", "packages"];
    Workflow::read(files, "ci")?.writes_only(&[("images", images), ("release", release)])?;
    Workflow::read(files, "e2e")?.writes_only(&[])?;
    Workflow::read(files, "docker")?.writes_only(&[
        ("image", &["packages", "security-events"]),
        ("publish", &["attestations", "id-token", "packages"]),
    ])?;
    Workflow::read(files, "release")?.writes_only(&[
        ("chart", &["attestations", "id-token", "packages"]),
        ("publish", &["attestations", "contents", "id-token"]),
    ])
}

/// In all four files: actions by commit, commands that exist, timeouts, no token left behind.
pub fn well_kept(files: &Repository) -> Result<()> {
    let mut commands = 0;
    for name in NAMES {
        let text = files.text(&format!(".github/workflows/{name}.yml"))?;
        workflow_pins::actions_are_pinned(name, &text)?;
        commands += workflow_pins::commands_exist(name, &text)?;
        Workflow::read(files, name)?.jobs_are_bounded()?;
    }
    if commands < 15 {
        anyhow::bail!("the workflows call only {commands} commands of the front door");
    }
    Ok(())
}

fn weekly_and_by_hand(files: &Repository) -> Result<()> {
    let e2e = Workflow::read(files, "e2e")?;
    e2e.is("/on/schedule", &json!([{ "cron": "0 6 * * 1" }]))?;
    e2e.at("/on/workflow_dispatch").map(drop)
}

/// What stands for the race detector.
fn no_data_races(files: &Repository) -> Result<()> {
    let root = files.text("Cargo.toml")?;
    let xtask = files.text("xtask/Cargo.toml")?;
    lints::unsafe_is_forbidden(&root, &[("Cargo.toml", &root), ("xtask/Cargo.toml", &xtask)])
}

pub const ROWS: &[Row] = &[
    Row {
        id: "4.1",
        says: "ci: `test` with race detector and coverage, on a Postgres service",
        here: "`cargo xtask coverage` on a service of Postgres 15; a second job runs the suite as it is.",
        files: CI,
        proofs: &[
            Read(|files| {
                Workflow::read(files, "ci")?.at("/jobs/test/services/postgres/image")?;
                job_runs(files, "ci", "test", &["cargo xtask coverage"])?;
                job_runs(files, "ci", "test-plain", &["cargo xtask test"])
            }),
            Quick("workflows"),
            GitHub("the service's container and the run's page"),
        ],
    },
    Row {
        id: "4.2",
        says: "ci: `lint` with golangci-lint",
        here: "Format, tidy, clippy, security lints, dependencies, advisories, the workflows themselves.",
        files: CI,
        proofs: &[
            Read(|files| {
                job_runs(
                    files,
                    "ci",
                    "lint",
                    &[
                        "cargo xtask ci --quick",
                        "cargo xtask workflows",
                        "cargo xtask lint --advisories",
                    ],
                )
            }),
            Quick("ci --quick"),
            Quick("workflows"),
        ],
    },
    Row {
        id: "4.3",
        says: "ci: `opa-test` with a pinned OPA",
        here: "Version in xtask/tools.toml; format, strict check, tests and fixtures.",
        files: &[".github/workflows/ci.yml", "xtask/tools.toml"],
        proofs: &[
            Read(|files| job_runs(files, "ci", "opa-test", &["cargo xtask policy"])),
            super::Proof::Full("policy"),
        ],
    },
    Row {
        id: "4.4",
        says: "ci: `build` matrix, artifacts uploaded",
        here: "One executable for two platforms, packed with licence and readme.",
        files: &[".github/workflows/ci.yml", "xtask/src/release.rs"],
        proofs: &[
            Read(|files| {
                let ci = Workflow::read(files, "ci")?;
                ci.runs("build", "cargo xtask release archive")?;
                let platforms = ci
                    .at("/jobs/build/strategy/matrix/include")?
                    .as_array()
                    .map_or(0, Vec::len);
                if platforms < 2 {
                    anyhow::bail!("ci builds for {platforms} platforms");
                }
                ci.step("build", "actions/upload-artifact").map(drop)
            }),
            GitHub("the runners of the second architecture"),
        ],
    },
    Row {
        id: "4.5",
        says: "ci: `helm-lint`, lint and template",
        here: "Lint, snapshots of the rendered templates, schemas of several Kubernetes versions, an install.",
        files: CI,
        proofs: &[
            Read(|files| {
                let commands = ["chart lint", "chart snapshot", "chart conform", "chart install"];
                job_runs(files, "ci", "helm-lint", &commands.map(|command| command))
            }),
            Quick("chart lint"),
            Quick("chart snapshot"),
            Quick("chart conform"),
        ],
    },
    Row {
        id: "4.6",
        says: "docker: runs for main and for version tags",
        here: "Called by ci.yml on pushes to main and of tags `v*.*.*`, after its jobs.",
        files: DOCKER,
        proofs: &[Read(|files| {
            let ci = Workflow::read(files, "ci")?;
            ci.is("/on/push/branches", &json!(["main"]))?;
            ci.is("/on/push/tags", &json!(["v*.*.*"]))?;
            ci.is("/jobs/images/if", &json!("github.event_name == 'push'"))?;
            ci.is("/jobs/images/uses", &json!("./.github/workflows/docker.yml"))
        })],
    },
    Row {
        id: "4.7",
        says: "docker: matrix of five images",
        here: "",
        files: DOCKER,
        proofs: &[Read(five_targets)],
    },
    Row {
        id: "4.8",
        says: "docker: GHCR with GITHUB_TOKEN",
        here: "",
        files: DOCKER,
        proofs: &[
            Read(pushes_with_the_job_s_token),
            GitHub("a push to the registry"),
        ],
    },
    Row {
        id: "4.9",
        says: "docker: metadata action for tags",
        here: "Branch, version, major.minor, commit.",
        files: DOCKER,
        proofs: &[Read(|files| {
            let docker = Workflow::read(files, "docker")?;
            let tags = docker.step("publish", "docker/metadata-action")?["with"]["tags"]
                .as_str()
                .unwrap_or_default();
            for kind in [
                "type=ref,event=branch",
                "{{version}}",
                "{{major}}.{{minor}}",
                "type=sha",
            ] {
                if !tags.contains(kind) {
                    anyhow::bail!("no tag of the kind `{kind}`");
                }
            }
            Ok(())
        })],
    },
    Row {
        id: "4.10",
        says: "docker: buildx with the cache of GitHub Actions, mode=max",
        here: "",
        files: DOCKER,
        proofs: &[Read(caches_all_layers), GitHub("the cache itself")],
    },
    Row {
        id: "4.11",
        says: "docker: Trivy scans, CRITICAL and HIGH",
        here: "It blocks: what it finds is never pushed. Findings without a fix do not block, and are shown.",
        files: DOCKER,
        proofs: &[
            Read(trivy_blocks),
            GitHub("the scan: Trivy cannot be had on a machine without GitHub"),
        ],
    },
    Row {
        id: "4.12",
        says: "docker: SARIF to the security page",
        here: "Also when the scan ends the job.",
        files: DOCKER,
        proofs: &[Read(trivy_blocks), GitHub("the security page")],
    },
    Row {
        id: "4.13",
        says: "docker: permissions are scoped (read, packages, security-events)",
        here: "Each job its own; signing adds id-token and attestations to the last one.",
        files: DOCKER,
        proofs: &[Read(permissions_are_minimal), Quick("workflows")],
    },
    Row {
        id: "4.14",
        says: "e2e: weekly and by hand",
        here: "",
        files: E2E,
        proofs: &[Read(weekly_and_by_hand)],
    },
    Row {
        id: "4.15",
        says: "e2e: real Postgres and OPA",
        here: "And Temporal, a Kubernetes API server, Prometheus, Alertmanager.",
        files: E2E,
        proofs: &[
            Read(|files| {
                job_runs(
                    files,
                    "e2e",
                    "real-servers",
                    &["cargo xtask test --real", "cargo xtask policy"],
                )?;
                job_runs(files, "e2e", "compose", &["cargo xtask compose smoke"])
            }),
            super::Proof::Full("test --real"),
        ],
    },
    Row {
        id: "4.16",
        says: "e2e: builds gateway and tool-router",
        here: "All five images.",
        files: E2E,
        proofs: &[
            Read(|files| job_runs(files, "e2e", "compose", &["cargo xtask images build"])),
            super::Proof::Full("images"),
        ],
    },
    Row {
        id: "4.17",
        says: "e2e: health checks as smoke tests",
        here: "More than that: R13.",
        files: E2E,
        proofs: &[super::Proof::Full("compose smoke")],
    },
    Row {
        id: "4.18",
        says: "CI permissions are minimal",
        here: "",
        files: CI,
        proofs: &[Read(permissions_are_minimal), Quick("workflows")],
    },
    Row {
        id: "4.19",
        says: "`packages: write` and `security-events: write` only where needed",
        here: "",
        files: DOCKER,
        proofs: &[Read(permissions_are_minimal)],
    },
    Row {
        id: "4.20",
        says: "The tests run under a race detector",
        here: "`unsafe` is forbidden in the workspace, so a data race in this code does not compile; a lock held across an \
               await is refused. Races of meaning are played by the crash, lease and epoch tests. The unsafe code of \
               dependencies is not covered: ThreadSanitizer needs a nightly toolchain and its own standard library.",
        files: &["Cargo.toml", "tests/it/crash.rs"],
        proofs: &[
            Read(no_data_races),
            super::Proof::Full("test crash"),
            super::Proof::Absent("the unsafe code inside dependencies is not run under ThreadSanitizer"),
        ],
    },
    Row {
        id: "4.21",
        says: "The build matrix covers every executable",
        here: "There is one.",
        files: &["Cargo.toml", ".github/workflows/ci.yml"],
        proofs: &[Read(|files| {
            let bins = files.text("Cargo.toml")?.matches("[[bin]]").count();
            if bins != 1 {
                anyhow::bail!("{bins} executables, and the matrix builds one");
            }
            Workflow::read(files, "ci")?.runs("build", "release archive")
        })],
    },
    Row {
        id: "4.22",
        says: "Dependabot for code, images and actions",
        here: "Weekly, a week after a version appeared.",
        files: &[".github/dependabot.yml"],
        proofs: &[
            Read(|files| {
                let value = files.yaml(".github/dependabot.yml")?;
                dependabot::looks_after(&value, &["cargo", "docker", "docker-compose", "github-actions"])
            }),
            Quick("workflows"),
        ],
    },
    Row {
        id: "4.23",
        says: "(beyond the audit) actions pinned by commit, commands that exist, timeouts, no token in a checkout",
        here: "Each commit was seen with its version in several independent public workflows.",
        files: &[".github/workflows"],
        proofs: &[Read(well_kept), Quick("workflows")],
    },
];
