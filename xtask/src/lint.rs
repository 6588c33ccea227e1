//! `cargo xtask lint`: clippy with the security lints of `Cargo.toml`, and what may come in as a dependency.
//!
//! What stands for a security linter such as gosec: `unsafe` is forbidden (G103) and an unused result is an error (G104)
//! in the whole workspace; the table below holds for what ships; `clippy.toml` names functions that nobody calls; the
//! fences of `xtask tidy` say where a process may be started (G204) and where SQL may stand, which the compiler checks
//! against the schema (G201, G202); `deny.toml` judges every dependency.
//! The database of known vulnerabilities is a repository of its own: `--advisories` fetches it, the rest needs no network.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::report::{run as run_command, step};
use crate::{tools, workspace};

/// Lints for code that ships, and what each stands for. Tests may panic and count in other types.
const SECURITY: &[(&str, &str)] = &[
    (
        "clippy::cast_possible_truncation",
        "a number that loses digits (G115)",
    ),
    (
        "clippy::cast_possible_wrap",
        "a number that turns negative (G115)",
    ),
    (
        "clippy::cast_sign_loss",
        "a negative number that turns great (G115)",
    ),
    (
        "clippy::non_octal_unix_permissions",
        "a mode that is not what was meant (G302)",
    ),
    (
        "clippy::permissions_set_readonly_false",
        "a file that everybody may write (G302)",
    ),
    (
        "clippy::suspicious_open_options",
        "a file half overwritten (G304)",
    ),
    ("clippy::panic", "a request that ends the process"),
    ("clippy::unreachable", "a request that ends the process"),
    ("clippy::get_unwrap", "an index that ends the process (G602)"),
    ("clippy::unused_result_ok", "an error nobody sees (G104)"),
    ("clippy::infinite_loop", "a function that cannot be stopped"),
    ("clippy::await_holding_lock", "a lock held while others wait"),
    ("clippy::rc_mutex", "a lock that guards nothing"),
    ("clippy::mem_forget", "a secret that is never wiped"),
    (
        "clippy::host_endian_bytes",
        "a digest that depends on the machine",
    ),
];

/// Runs `xtask lint`.
pub fn run(advisories: bool, only_dependencies: bool) -> Result<()> {
    if !only_dependencies {
        step("clippy", clippy)?;
        step("security lints", security)?;
    }
    step("dependencies", || dependencies(advisories))
}

/// Each package by itself, so that the features, and with them the built dependencies, are those of the tests.
pub fn clippy() -> Result<()> {
    for package in ["--package=xtask", "--package=carapulse"] {
        run_command(&mut clippy_of(&[package, "--all-targets"]))?;
    }
    if workspace::path("tests/e2e/main.rs").is_file() {
        run_command(&mut clippy_of(&["--package=carapulse", "--test=e2e"]))?;
    }
    Ok(())
}

/// The table's lints on the library and the executable.
pub fn security() -> Result<()> {
    let mut command = clippy_of(&["--package=carapulse", "--lib", "--bins"]);
    for (lint, _) in SECURITY {
        command.arg("-D").arg(lint);
    }
    run_command(&mut command)
}

/// Licences, banned crates, sources; with `advisories` also known vulnerabilities and yanked versions.
pub fn dependencies(advisories: bool) -> Result<()> {
    let deny = tools::ensure("cargo-deny")?;
    run_command(&mut check(&deny, advisories))
}

fn clippy_of(what: &[&str]) -> Command {
    let mut command = workspace::cargo(&["clippy"]);
    command.args(what).args(["--", "-D", "warnings"]);
    command
}

fn check(deny: &Path, advisories: bool) -> Command {
    let mut command = Command::new(deny);
    command
        .current_dir(workspace::root())
        .args(["--log-level", "error", "check", "--hide-inclusion-graph"])
        .args(["bans", "licenses", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        let words = command.get_args();
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn advisories_are_asked_for_only_where_they_can_be_fetched() {
        let deny = Path::new("cargo-deny");
        assert!(!words(&check(deny, false)).contains(&"advisories".to_owned()));
        assert!(words(&check(deny, true)).contains(&"advisories".to_owned()));
    }

    #[test]
    fn a_warning_of_clippy_is_an_error() {
        assert!(words(&clippy_of(&["--package=xtask"])).ends_with(&["-D".to_owned(), "warnings".to_owned()]));
    }
}
