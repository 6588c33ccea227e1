//! Section 1: the images.

use super::Proof::{Full, GitHub, Quick, Read};
use super::Row;
use crate::delivery::checks::dockerfile as check;

const FILE: &[&str] = &["Dockerfile"];
const HEALTHY: super::Proof = Full("images");
const ALPINE: &str = "Debian instead of alpine: one base for all five, docs/adr/0006.";

pub const ROWS: &[Row] = &[
    Row {
        id: "1.1",
        says: "gateway image: alpine:3.21, multi-stage, UID 10001, HEALTHCHECK by wget",
        here: ALPINE,
        files: FILE,
        proofs: &[
            Read(|files| check::target(files, "gateway")),
            Quick("images lint"),
            HEALTHY,
        ],
    },
    Row {
        id: "1.2",
        says: "tool-router image: debian:bookworm-slim, multi-stage, UID 10001, HEALTHCHECK by curl",
        here: "The executable asks itself: `carapulse healthcheck`.",
        files: FILE,
        proofs: &[
            Read(|files| check::target(files, "tool-router")),
            Quick("images lint"),
            HEALTHY,
        ],
    },
    Row {
        id: "1.3",
        says: "orchestrator image: debian:bookworm-slim, multi-stage, UID 10001, HEALTHCHECK by file",
        here: "Its health is an HTTP answer on port 8085, not a file.",
        files: FILE,
        proofs: &[
            Read(|files| check::target(files, "orchestrator")),
            Quick("images lint"),
            HEALTHY,
        ],
    },
    Row {
        id: "1.4",
        says: "agent image: alpine:3.21, multi-stage, UID 10001, HEALTHCHECK by wget",
        here: ALPINE,
        files: FILE,
        proofs: &[
            Read(|files| check::target(files, "agent")),
            Quick("images lint"),
            HEALTHY,
        ],
    },
    Row {
        id: "1.5",
        says: "sandbox image: debian:bookworm-slim, runtime only, UID 10001, no HEALTHCHECK",
        here: "It is a role of its own, with a port and a HEALTHCHECK.",
        files: FILE,
        proofs: &[
            Read(|files| check::target(files, "sandbox")),
            Quick("images lint"),
            HEALTHY,
        ],
    },
    Row {
        id: "1.6",
        says: "Fixed: the orchestrator has EXPOSE and HEALTHCHECK",
        here: "It exposes 8085, where its health is; 7233 is the Temporal server's port.",
        files: FILE,
        proofs: &[
            Read(|files| check::exposes(files, "orchestrator", "8085")),
            HEALTHY,
        ],
    },
    Row {
        id: "1.7",
        says: "Fixed: no HEALTHCHECK calls a program that the image has not",
        here: "Each calls the executable of the image.",
        files: FILE,
        proofs: &[Read(check::health_checks_need_no_other_program), HEALTHY],
    },
    Row {
        id: "1.8",
        says: "Reproducible builds (CGO_ENABLED=0, -trimpath)",
        here: "No path of the build is in the executable: the same sources in two folders give the same bytes.",
        files: &["Dockerfile", "xtask/src/images/reproduce.rs"],
        proofs: &[Read(check::paths_are_remapped), Full("images reproduce")],
    },
    Row {
        id: "1.9",
        says: "Versions of the command lines are pinned by build arguments",
        here: "The audit's names, its versions or newer; downloads are checked against the vendors' sums.",
        files: &["Dockerfile", "docker/tools/install.sh", "xtask/images.toml"],
        proofs: &[
            Read(check::command_lines_are_pinned),
            Quick("images lint"),
            GitHub("docker.yml downloads all eight from their vendors and checks the sums"),
        ],
    },
    Row {
        id: "1.10",
        says: "Dependencies are built before the sources are copied, for the cache",
        here: "cargo-chef.",
        files: FILE,
        proofs: &[Read(check::dependencies_come_first)],
    },
    Row {
        id: "1.11",
        says: "UID 10001 in all images",
        here: "",
        files: FILE,
        proofs: &[Read(check::all_run_as_10001), HEALTHY],
    },
    Row {
        id: "1.12",
        says: "The gateway's image carries the migrations",
        here: "`carapulse migrate up` is in the one executable.",
        files: &["Dockerfile", "src/cli/migrate.rs"],
        proofs: &[Full("images")],
    },
];
