//! Section 5: the migrations.

use super::Proof::{Full, Quick, Read};
use super::Row;
use crate::delivery::checks::migrations as check;

const UP: &[&str] = &["migrations/up", "migrations/down"];
const SUITE: super::Proof = Full("test migrate");

pub const ROWS: &[Row] = &[
    Row {
        id: "5.1",
        says: "Engine: goose, embedded",
        here: "refinery, with the files embedded in the executable.",
        files: &["src/store/migrate", "migrations/up"],
        proofs: &[SUITE],
    },
    Row {
        id: "5.2",
        says: "Actions: up, down, status, version, redo",
        here: "`carapulse migrate` says which it has: docs/cli.md.",
        files: &["src/cli/migrate.rs", "docs/cli.md"],
        proofs: &[Read(check::actions_are_there), SUITE],
    },
    Row {
        id: "5.3",
        says: "20 migrations, each with Up and Down",
        here: "An up file and a down file each; docs/migrations.md says where each of the predecessor's went.",
        files: &["migrations/up", "migrations/down", "docs/migrations.md"],
        proofs: &[Read(check::each_has_a_way_back), Quick("tidy")],
    },
    Row {
        id: "5.4",
        says: "Safe to run again: CREATE … IF NOT EXISTS and the like (10 + 12 + 8)",
        here: "What ran is in the history and does not run again; a half-failed migration leaves nothing, so that there \
               is nothing to skip. A test runs all up, down, up, twice.",
        files: UP,
        proofs: &[SUITE],
    },
    Row {
        id: "5.5",
        says: "Down migrations drop what up made (10 tables, 3 indexes, 12 columns)",
        here: "They refuse when rows would be lost.",
        files: &["migrations/down"],
        proofs: &[Read(check::each_has_a_way_back), SUITE],
    },
    Row {
        id: "5.6",
        says: "An advisory lock keeps two runs apart",
        here: "",
        files: &["src/store/migrate"],
        proofs: &[Read(check::runs_are_kept_apart), SUITE],
    },
    Row {
        id: "5.7",
        says: "Each migration is a transaction; a failure records no version",
        here: "",
        files: &["src/store/migrate"],
        proofs: &[SUITE],
    },
    Row {
        id: "5.8",
        says: "`backoffLimit: 3` in the Job",
        here: "",
        files: &["chart/templates/migration-job.yaml"],
        proofs: &[
            Read(crate::delivery::checks::chart::job_tries_three_times),
            Quick("chart snapshot"),
        ],
    },
    Row {
        id: "5.9",
        says: "(beyond the audit) an older executable runs on the newer schema; the files are linted",
        here: "squawk.",
        files: UP,
        proofs: &[Quick("db lint"), SUITE],
    },
];
