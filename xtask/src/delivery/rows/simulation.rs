//! Section 6: the simulation.

use super::Proof::{Full, GitHub, Quick, Read};
use super::Row;
use crate::delivery::checks::compose as check;

const FILE: &[&str] = &["compose/compose.simulation.yaml"];
const VALID: super::Proof = Quick("compose config");
const REAL: super::Proof = GitHub("the images of LocalStack and Vault: no registry of packages has either");

pub const ROWS: &[Row] = &[
    Row {
        id: "6.1",
        says: "`localstack` 3.1: S3, STS, IAM, CloudWatch, EC2, ECS, Lambda, SSM",
        here: "",
        files: FILE,
        proofs: &[Read(check::localstack_is_whole), VALID, REAL],
    },
    Row {
        id: "6.2",
        says: "`vault` 1.15.6 in dev mode",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::simulated(files, "vault", ":1.15.6")),
            VALID,
            REAL,
        ],
    },
    Row {
        id: "6.3",
        says: "`vault-init` seeds `carapulse/config`",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::simulation_says(files, "vault-init", "carapulse/config")),
            VALID,
            REAL,
        ],
    },
    Row {
        id: "6.4",
        says: "`localstack-init` makes the buckets for artifacts and evidence",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::simulation_says(files, "localstack-init", "artifacts")),
            Read(|files| check::simulation_says(files, "localstack-init", "evidence")),
            VALID,
            REAL,
        ],
    },
    Row {
        id: "6.5",
        says: "Used as an overlay of the base file",
        here: "Or by the profile `simulation`.",
        files: FILE,
        proofs: &[VALID],
    },
    Row {
        id: "6.6",
        says: "The tool-router gets `AWS_ENDPOINT_URL=http://localstack:4566`",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::simulation_says(files, "tool-router", "http://localstack:4566")),
            VALID,
        ],
    },
    Row {
        id: "6.7",
        says: "Tool-router and orchestrator reach the seeded Vault",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::simulation_says(files, "tool-router", "http://vault:8200")),
            Read(|files| check::simulation_says(files, "orchestrator", "http://vault:8200")),
            VALID,
        ],
    },
    Row {
        id: "6.8",
        says: "The full stack comes from the base file",
        here: "",
        files: &["compose/compose.yaml"],
        proofs: &[VALID, Full("compose smoke")],
    },
    Row {
        id: "6.9",
        says: "The init containers end before the services start",
        here: "",
        files: FILE,
        proofs: &[Read(check::simulation_is_seeded_first), VALID],
    },
];
