//! What the project set itself to show as a whole.

use super::Proof::{Full, GitHub, Quick};
use super::Row;

pub const ROWS: &[Row] = &[
    Row {
        id: "J1",
        says: "All five images are built and become healthy",
        here: "Here with buildah and podman, bases stood in for where no registry answers (docs/images.md).",
        files: &["Dockerfile", "docs/images.md"],
        proofs: &[
            Full("images"),
            GitHub("the same from the real bases, for arm64 too"),
        ],
    },
    Row {
        id: "J2",
        says: "Compose comes up as shipped, and a plan runs to success",
        here: "Third-party images are stood in for by the same servers built here.",
        files: &["compose/compose.yaml"],
        proofs: &[
            Full("compose smoke"),
            GitHub("the same with the images that the file names"),
        ],
    },
    Row {
        id: "J3",
        says: "The chart is installed, upgraded and rolled back on a real API server",
        here: "Nodes are simulated: pods are admitted, scheduled and counted, and do not run.",
        files: &["chart"],
        proofs: &[Quick("chart install"), Full("chart pods")],
    },
];
