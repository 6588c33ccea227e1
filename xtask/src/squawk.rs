//! `cargo xtask db lint`: the migrations under squawk, the linter for Postgres migrations.
//!
//! Both directions, each with its own checked-in configuration. A rule may be left out only under a comment that says why.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::{run as run_command, say, step};
use crate::{tools, workspace};

const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Runs `xtask db lint`.
pub fn run() -> Result<()> {
    let squawk = tools::ensure("squawk")?;
    for direction in DIRECTIONS {
        let config = workspace::path(&format!("migrations/squawk-{direction}.toml"));
        let text = fs::read_to_string(&config).with_context(|| config.display().to_string())?;
        let excluded = excluded_with_reasons(&text).with_context(|| config.display().to_string())?;
        let files = crate::db::migrations(direction)?;
        if files.is_empty() {
            bail!("migrations/{direction} holds no migration");
        }
        step(&format!("squawk migrations/{direction}"), || {
            let mut command = Command::new(&squawk);
            command.arg("--config").arg(&config).args(&files);
            run_command(&mut command)
        })?;
        let count = files.len();
        say(&format!(
            "migrations/{direction}: {count} files pass; left out, each with a reason: {}",
            excluded.join(", ")
        ));
    }
    Ok(())
}

/// The rules of `excluded_rules`; an error for one that does not stand directly under a comment.
fn excluded_with_reasons(config: &str) -> Result<Vec<&str>> {
    let lines = config.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| !line.starts_with("excluded_rules"));
    if lines.next().is_some_and(|line| line != "excluded_rules = [") {
        bail!("excluded_rules: write one rule a line");
    }
    let mut rules = Vec::new();
    let mut reason = false;
    for line in lines.take_while(|line| *line != "]") {
        if line.starts_with('#') {
            reason = true;
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let rule = line.strip_suffix(',').unwrap_or(line).trim_matches('"');
        if !std::mem::take(&mut reason) {
            bail!("{rule} is excluded without a reason: write it in a comment above");
        }
        rules.push(rule);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exclusion_stands_under_its_own_reason() {
        let good =
            "pg_version = \"15.0\"\nexcluded_rules = [\n  # why\n  \"a-rule\",\n  # why\n  \"b-rule\"\n]\n";
        assert_eq!(excluded_with_reasons(good).unwrap(), ["a-rule", "b-rule"]);
        let shared = "excluded_rules = [\n  # why\n  \"a-rule\",\n  \"b-rule\",\n]\n";
        let error = excluded_with_reasons(shared).unwrap_err().to_string();
        assert!(
            error.starts_with("b-rule is excluded without a reason"),
            "{error}"
        );
        assert!(excluded_with_reasons("excluded_rules = [\"a\"]").is_err());
        assert!(excluded_with_reasons("pg_version = \"15.0\"").unwrap().is_empty());
    }

    #[test]
    fn the_checked_in_configurations_give_their_reasons() {
        for direction in DIRECTIONS {
            let path = workspace::path(&format!("migrations/squawk-{direction}.toml"));
            let text = fs::read_to_string(path).unwrap();
            assert!(!excluded_with_reasons(&text).unwrap().is_empty());
        }
    }
}
