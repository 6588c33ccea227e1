//! The migrations as files, and the code that runs them.

use anyhow::{Result, bail};

use super::super::repository::Repository;

/// Up and down files pair, and each does something.
pub fn each_has_a_way_back(files: &Repository) -> Result<()> {
    for up in files.files("migrations/up", ".sql")? {
        let down = up.replace("migrations/up/", "migrations/down/");
        if !does_something(&files.text(&down)?) {
            bail!("{down} takes nothing back");
        }
    }
    Ok(())
}

pub fn none_is_a_placeholder(files: &Repository) -> Result<()> {
    for up in files.files("migrations/up", ".sql")? {
        if !does_something(&files.text(&up)?) {
            bail!("{up} changes nothing");
        }
    }
    Ok(())
}

/// `carapulse migrate` has what goose had.
pub fn actions_are_there(files: &Repository) -> Result<()> {
    let code = files.text("src/cli/migrate.rs")?;
    for action in ["    Up", "    Down", "    Redo", "    Status", "    Version"] {
        if !code.lines().any(|line| line.starts_with(action)) {
            bail!("`carapulse migrate` has no `{}`", action.trim().to_lowercase());
        }
    }
    Ok(())
}

pub fn runs_are_kept_apart(files: &Repository) -> Result<()> {
    says(
        &files.text("src/store/migrate/connection.rs")?,
        "pg_advisory_lock",
    )
}

/// Waiting for the lock of another run, and for locks of tables, both end.
pub fn locks_have_a_limit(files: &Repository) -> Result<()> {
    says(
        &files.text("src/store/migrate/connection.rs")?,
        "(\"lock_timeout\"",
    )
}

fn says(code: &str, wanted: &str) -> Result<()> {
    let shipped = code.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = shipped
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    if !lines.clone().any(|line| line.contains(wanted)) {
        bail!("the code says nowhere `{wanted}`");
    }
    Ok(())
}

/// A statement that is neither a comment nor a bare `SELECT`.
fn does_something(sql: &str) -> bool {
    let code: String = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    code.split(';').map(str::trim).any(|statement| {
        let first = statement
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_uppercase();
        let calls = statement.contains('(');
        !first.is_empty() && (first != "SELECT" || calls)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_found() {
        assert!(!does_something("-- later\nSELECT 1;\n"));
        assert!(!does_something("\n"));
        assert!(does_something("ALTER TABLE a ADD COLUMN b text; -- why"));
        assert!(does_something("SELECT isolate_tenants('plan');"));
    }

    #[test]
    fn a_limit_that_is_only_written_about_is_not_there() {
        assert!(says("(\"lock_timeout\", x)", "(\"lock_timeout\"").is_ok());
        assert!(says("// (\"lock_timeout\", x)", "(\"lock_timeout\"").is_err());
        assert!(says("#[cfg(test)]\n(\"lock_timeout\", x)", "(\"lock_timeout\"").is_err());
    }
}
