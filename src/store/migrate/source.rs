//! The migrations that the binary carries.

use refinery_core::Migration;

use super::{Entry, Error};

/// One migration's two texts.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// `V1__name`.
    pub name: &'static str,
    /// Applies it.
    pub up: &'static str,
    /// Takes it back.
    pub down: &'static str,
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source {
            name: $name,
            up: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/up/", $name, ".sql")),
            down: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/down/", $name, ".sql")),
        }),*]
    };
}

/// The built-in migrations, in order. A new one is added here; a test compares the list with the folders.
#[must_use]
pub const fn builtin() -> &'static [Source] {
    sources![
        "V1__foundations",
        "V2__identity",
        "V3__jobs_and_audit",
        "V4__intake_and_diagnosis",
        "V5__plans_and_approvals",
        "V6__executions",
        "V7__what_a_part_may_say",
        "V8__restore",
        "V9__faces",
    ]
}

/// A parsed migration with its way back.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) up: Migration,
    pub(super) down: &'static str,
}

impl Step {
    pub(super) fn entry(&self) -> Entry {
        super::entry(&self.up, true)
    }

    /// Rows that the migration itself inserts into a table: a line `-- seeds: table=rows table=rows` in the down file.
    pub(super) fn seeds(&self, table: &str) -> i64 {
        self.down
            .lines()
            .filter_map(|line| line.strip_prefix("-- seeds:"))
            .flat_map(str::split_whitespace)
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == table)
            .and_then(|(_, rows)| rows.parse().ok())
            .unwrap_or(0)
    }
}

pub(super) fn parse(sources: &[Source]) -> Result<Vec<Step>, Error> {
    let mut steps = sources
        .iter()
        .map(|source| {
            let up = Migration::unapplied(source.name, source.up)
                .map_err(|error| Error::History(format!("{}: {error}", source.name)))?;
            Ok(Step {
                up,
                down: source.down,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    steps.sort_by_key(|step| step.up.version());
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files(folder: &str) -> BTreeSet<String> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(folder);
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn every_file_is_in_the_list_and_every_up_has_a_down() {
        let listed: BTreeSet<String> = builtin()
            .iter()
            .map(|source| format!("{}.sql", source.name))
            .collect();
        assert_eq!(files("up"), listed);
        assert_eq!(files("down"), listed);
    }

    #[test]
    fn numbers_rise_by_one_and_no_text_is_empty() {
        let steps = parse(builtin()).unwrap();
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(usize::try_from(step.up.version()).unwrap(), index + 1);
            assert!(
                step.up.sql().unwrap().contains(';') && step.down.contains(';'),
                "{}",
                step.up
            );
        }
    }
}
