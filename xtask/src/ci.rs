//! `cargo xtask ci`: what CI checks, in one order, with the same flags for everybody.
//!
//! Every part runs even when an earlier one failed, so that one run shows all there is to mend.

use anyhow::{Result, bail};

use crate::report::{run as run_command, say, step};
use crate::{generate, lint, squawk, test, tidy, workspace};

type Part = (&'static str, fn() -> Result<()>);

const QUICK: &[Part] = &[("format", format), ("tidy", tidy::run)];
const FULL: &[Part] = &[
    ("clippy", lint::clippy),
    ("security lints", lint::security),
    ("dependencies", known_dependencies),
    ("generated files", check_generated),
    ("migrations", squawk::run),
    ("tests", all_tests),
];

/// Runs `xtask ci`.
pub fn run(quick: bool) -> Result<()> {
    let more = if quick { &[] } else { FULL };
    let mut failed = Vec::new();
    for (name, part) in QUICK.iter().chain(more) {
        if let Err(error) = step(name, part) {
            say(&format!("{name}: {error:#}"));
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("ci: failed: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    run_command(&mut workspace::cargo(&["fmt", "--all", "--", "--check"]))
}

fn known_dependencies() -> Result<()> {
    lint::dependencies(false)
}

fn check_generated() -> Result<()> {
    generate::run(true)
}

fn all_tests() -> Result<()> {
    test::run(false, &[])
}
