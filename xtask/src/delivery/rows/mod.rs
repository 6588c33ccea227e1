//! The rows, in the order of the audit: its six sections, its recommendations, the predecessor's faults, and what the
//! project set itself to show. This is the one table: `docs/audit.md` is written from it.

mod chart;
mod compose;
mod docker;
mod faults;
mod migrations;
mod pipeline;
mod recommendations;
mod shown;
mod simulation;

use anyhow::Result;

use super::repository::Repository;

/// One row.
#[derive(Clone, Copy)]
pub struct Row {
    /// `1.3` is the third row of the audit's first section; `R4` a recommendation; `Y7` a fault of the predecessor.
    pub id: &'static str,
    pub says: &'static str,
    /// What stands for it here, when that is not plain.
    pub here: &'static str,
    /// Where; each exists.
    pub files: &'static [&'static str],
    pub proofs: &'static [Proof],
}

/// How a row is proved.
#[derive(Clone, Copy)]
pub enum Proof {
    /// A property of the files.
    Read(fn(&Repository) -> Result<()>),
    /// A command of the front door that takes seconds or few minutes: also with `--quick`.
    Quick(&'static str),
    /// A command that builds images, starts clusters or runs the suite.
    Full(&'static str),
    /// What only the workflows can do: with an identity, a registry or a runner of GitHub's.
    GitHub(&'static str),
    /// What is not proved at all, and why.
    Absent(&'static str),
}

impl Row {
    /// Where it can be proved, for the document.
    pub fn standing(&self) -> &'static str {
        let mut here = false;
        let (mut github, mut absent) = (false, false);
        for proof in self.proofs {
            match proof {
                Proof::Read(_) | Proof::Quick(_) | Proof::Full(_) => here = true,
                Proof::GitHub(_) => github = true,
                Proof::Absent(_) => absent = true,
            }
        }
        match (here, github, absent) {
            (true, false, false) => "here",
            (true, true, false) => "here, part only on GitHub",
            (true, _, true) => "here, part not at all",
            (false, true, _) => "only on GitHub",
            (false, false, _) => "not proved",
        }
    }
}

/// All rows.
pub fn all() -> Vec<Row> {
    let parts = [
        docker::ROWS,
        compose::ROWS,
        chart::ROWS,
        pipeline::ROWS,
        migrations::ROWS,
        simulation::ROWS,
        recommendations::ROWS,
        faults::ROWS,
        shown::ROWS,
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_recommendation_and_every_fault_has_its_row_and_no_id_is_used_twice() {
        let ids: Vec<&str> = all().iter().map(|row| row.id).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len());
        for number in 1..=16 {
            assert!(unique.contains(format!("R{number}").as_str()), "R{number}");
        }
        for number in 1..=13 {
            assert!(unique.contains(format!("Y{number}").as_str()), "Y{number}");
        }
    }

    #[test]
    fn every_row_names_a_proof_or_says_why_there_is_none() {
        for row in all() {
            assert!(!row.proofs.is_empty(), "{}", row.id);
            for proof in row.proofs {
                if let Proof::GitHub(text) | Proof::Absent(text) = proof {
                    assert!(text.len() > 10, "{}: {text}", row.id);
                }
            }
        }
    }

    #[test]
    fn every_command_is_one_that_the_front_door_knows() {
        for row in all() {
            for proof in row.proofs {
                if let Proof::Quick(command) | Proof::Full(command) = proof {
                    let words = std::iter::once("xtask").chain(command.split_whitespace());
                    assert!(
                        Cli::try_parse_from(words).is_ok(),
                        "{}: cargo xtask {command}",
                        row.id
                    );
                }
            }
        }
    }
}
