//! Section 2: Compose.

use super::Proof::{Full, Quick, Read};
use super::Row;
use crate::delivery::checks::compose as check;

const FILE: &[&str] = &["compose/compose.yaml"];
const VALID: super::Proof = Quick("compose config");
const UP: super::Proof = Full("compose smoke");

pub const ROWS: &[Row] = &[
    Row {
        id: "2.1",
        says: "Services: postgres, temporal, temporal-ui, minio, opa, migrate, tool-router, orchestrator, gateway, agent",
        here: "And the sandbox, the admin tools of Temporal, the making of the bucket.",
        files: FILE,
        proofs: &[Read(check::services_are_there), VALID, UP],
    },
    Row {
        id: "2.2",
        says: "Fixed: images pinned",
        here: "By exact tag; digests by a script where a registry can be asked.",
        files: FILE,
        proofs: &[Read(check::images_are_pinned), VALID],
    },
    Row {
        id: "2.3",
        says: "Fixed: Temporal has a health check, and who needs it waits for `service_healthy`",
        here: "",
        files: FILE,
        proofs: &[Read(check::temporal_is_waited_for), VALID, UP],
    },
    Row {
        id: "2.4",
        says: "`docker compose config` is valid",
        here: "For every profile, with the overlay too.",
        files: FILE,
        proofs: &[VALID],
    },
    Row {
        id: "2.5",
        says: "Postgres is checked by pg_isready",
        here: "",
        files: FILE,
        proofs: &[
            Read(|files| check::health_check_calls(files, "postgres", "pg_isready")),
            UP,
        ],
    },
    Row {
        id: "2.6",
        says: "Named volumes for postgres and minio",
        here: "",
        files: FILE,
        proofs: &[Read(check::data_has_volumes), VALID],
    },
    Row {
        id: "2.7",
        says: "The agent is behind the profile `chatops`",
        here: "",
        files: FILE,
        proofs: &[Read(check::agent_is_opt_in), VALID],
    },
    Row {
        id: "2.8",
        says: "Migrations end before the gateway starts",
        here: "Before every role that reads the schema.",
        files: FILE,
        proofs: &[Read(check::migrations_come_first), UP],
    },
    Row {
        id: "2.9",
        says: "Configuration mounted read-only",
        here: "",
        files: FILE,
        proofs: &[Read(check::configuration_is_read_only), UP],
    },
    Row {
        id: "2.10",
        says: "Policies mounted read-only",
        here: "",
        files: FILE,
        proofs: &[Read(check::policies_are_read_only), UP],
    },
    Row {
        id: "2.11",
        says: "(beyond the audit) health checks on every service that stays, capabilities dropped, read-only root",
        here: "",
        files: FILE,
        proofs: &[
            Read(check::services_are_confined),
            Read(check::services_are_checked),
            UP,
        ],
    },
];
