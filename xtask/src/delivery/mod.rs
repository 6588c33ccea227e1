//! `cargo xtask delivery`: every row of the infrastructure audit, proved or honestly not.
//!
//! In: the table under `rows/`, which is also the source of `docs/audit.md`. Out: a line a row (passed, failed, not run
//! and why) and an error when a row failed.
//! Always: a file that a row names exists; a command that several rows name runs once; what this machine cannot prove
//! is printed with the reason and is never counted as passed.
//! Not here: the commands themselves. They belong to the images, Compose, the chart, the migrations.

mod checks;
mod document;
mod proof;
mod repository;
mod rows;

use anyhow::{Result, bail};

use crate::cli::DeliveryOptions;
use crate::report::say;
use proof::{Commands, Mode, Outcome};
use repository::Repository;
use rows::Row;

/// Runs `xtask delivery`.
pub fn run(options: &DeliveryOptions) -> Result<()> {
    let rows = rows::all();
    if options.write {
        return document::write(&rows);
    }
    let mode = match (options.files, options.quick) {
        (true, _) => Mode::Files,
        (false, true) => Mode::Quick,
        (false, false) => Mode::Full,
    };
    let repository = Repository::here();
    let only = options.only.as_deref();
    let mut commands = Commands::new(mode, options.packages_only);
    let mut tally = Tally::default();
    for row in rows
        .iter()
        .filter(|row| only.is_none_or(|only| row.id.starts_with(only)))
    {
        let outcome = proof::of(row, &repository, &mut commands);
        println!("{}", line(row, &outcome));
        tally.add(row, &outcome);
    }
    if only.is_none() {
        document::check(&rows)?;
    }
    tally.end()
}

fn line(row: &Row, outcome: &Outcome) -> String {
    let (word, why) = match outcome {
        Outcome::Passed => ("pass", String::new()),
        Outcome::Partly(reasons) => ("part", format!(" [not here: {}]", reasons.join("; "))),
        Outcome::NotRun(reasons) => ("----", format!(" [{}]", reasons.join("; "))),
        Outcome::Failed(error) => ("FAIL", format!("\n{}", indented(error))),
    };
    format!("{word}  {:<5} {}{why}", row.id, row.says)
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("            {line}")).collect();
    lines.join("\n")
}

#[derive(Default)]
struct Tally {
    passed: usize,
    partly: usize,
    not_run: usize,
    failed: Vec<&'static str>,
}

impl Tally {
    fn add(&mut self, row: &Row, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Partly(_) => self.partly += 1,
            Outcome::NotRun(_) => self.not_run += 1,
            Outcome::Failed(_) => self.failed.push(row.id),
        }
    }

    fn end(self) -> Result<()> {
        say(&format!(
            "delivery: {} rows passed, {} in part, {} not run, {} failed",
            self.passed,
            self.partly,
            self.not_run,
            self.failed.len()
        ));
        if self.passed + self.partly + self.not_run + self.failed.len() == 0 {
            bail!("no row has such an id");
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_row_fails_the_run_and_one_that_did_not_run_does_not() {
        let rows = rows::all();
        let row = rows.first().expect("there are rows");
        let mut tally = Tally::default();
        tally.add(row, &Outcome::NotRun(vec!["no cluster".to_owned()]));
        assert!(tally.end().is_ok());
        let mut tally = Tally::default();
        tally.add(row, &Outcome::Passed);
        tally.add(row, &Outcome::Failed("broken".to_owned()));
        assert!(
            tally
                .end()
                .expect_err("a row failed")
                .to_string()
                .contains(row.id)
        );
        assert!(Tally::default().end().is_err(), "nothing was proved at all");
    }

    #[test]
    fn a_line_says_why_a_row_did_not_run() {
        let rows = rows::all();
        let row = rows.first().expect("there are rows");
        let text = line(row, &Outcome::NotRun(vec!["needs a registry".to_owned()]));
        assert!(
            text.starts_with("----") && text.ends_with("[needs a registry]"),
            "{text}"
        );
    }
}
