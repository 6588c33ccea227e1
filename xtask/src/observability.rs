//! `cargo xtask observability`: dashboards and alert rules against the metrics that the code exports.
//!
//! In: `observability/`, `src/`. Out: nothing, or every name that no code exports. Then `promtool` reads the rules and runs
//! their tests, where each alert must fire and be silent as written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::{run as run_command, say, step};
use crate::{tools, workspace};

const PREFIX: &str = "carapulse_";
/// What the exporter adds to the name of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Runs `xtask observability`.
pub fn run() -> Result<()> {
    let count = step("metrics that are named are exported", names)?;
    say(&format!("{count} metrics are named by dashboards and alerts"));
    let promtool = tools::ensure("promtool")?;
    let alerts = files("observability/alerts", "yaml")?;
    step("promtool check rules", || {
        run_command(Command::new(&promtool).args(["check", "rules"]).args(&alerts))
    })?;
    step("promtool test rules", || {
        let tests = files("observability/tests", "yaml")?;
        run_command(Command::new(&promtool).args(["test", "rules"]).args(tests))
    })
}

/// How many metrics are named; an error lists those that nobody exports, and alerts without a test.
fn names() -> Result<usize> {
    let exported = exported(&workspace::path("src"))?;
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    let alerts = files("observability/alerts", "yaml")?;
    let dashboards = files("observability/dashboards", "json")?;
    for path in alerts.iter().chain(&dashboards) {
        let text = fs::read_to_string(path)?;
        if path.extension().is_some_and(|ext| ext == "json") {
            check_dashboard(path, &text)?;
        }
        for name in words(&text) {
            let found = exported.contains(&name)
                || SUFFIXES.iter().any(|suffix| {
                    name.strip_suffix(suffix)
                        .is_some_and(|name| exported.contains(name))
                });
            if !found {
                wrong.push(format!("{}: no code exports `{name}`", path.display()));
            }
            named.insert(name);
        }
    }
    wrong.extend(untested(&alerts)?);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(named.len())
}

/// Every name that a macro of the crate `metrics` is given.
fn exported(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            names.extend(exported(&path)?);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path)?;
            names.extend(of_macros(&text));
        }
    }
    Ok(names)
}

fn of_macros(text: &str) -> BTreeSet<String> {
    let calls = ["counter!(", "gauge!(", "histogram!("];
    let parts = calls.iter().flat_map(|call| text.split(call).skip(1));
    parts
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn words(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|part| part.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

fn check_dashboard(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    let board: serde_json::Value = serde_json::from_str(text).with_context(|| format!("{shown}"))?;
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if board["uid"] != format!("carapulse-{stem}") {
        bail!("{shown}: its uid is not `carapulse-{stem}`");
    }
    let panels = board["panels"]
        .as_array()
        .with_context(|| format!("{shown} has no panels"))?;
    for panel in panels {
        let asks = panel["targets"].as_array().is_some_and(|targets| {
            !targets.is_empty()
                && targets
                    .iter()
                    .all(|target| target["expr"].as_str().is_some_and(|expr| !expr.is_empty()))
        });
        if !asks || panel["datasource"]["uid"] != "${datasource}" {
            bail!(
                "{shown}: panel {} asks nothing, or not the chosen data source",
                panel["title"]
            );
        }
    }
    Ok(())
}

/// Alerts that no test names.
fn untested(alerts: &[PathBuf]) -> Result<Vec<String>> {
    let mut tests = String::new();
    for path in files("observability/tests", "yaml")? {
        tests.push_str(&fs::read_to_string(path)?);
    }
    let mut missing = Vec::new();
    for path in alerts {
        let text = fs::read_to_string(path)?;
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "));
        missing.extend(
            names
                .filter(|name| !tests.contains(&format!("alertname: {name}\n        exp_alerts")))
                .map(|name| format!("{}: no test sees {name} fire", path.display())),
        );
    }
    Ok(missing)
}

fn files(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace::path(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ext| ext == extension));
    paths.sort();
    if paths.is_empty() {
        bail!("{} has no .{extension}", folder.display());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_and_alerts_name_only_what_is_exported_and_every_alert_is_tested() {
        assert!(names().expect("all names are exported") > 20);
    }

    #[test]
    fn names_are_found_in_macros_and_in_expressions() {
        let code = "metrics::counter!(\"carapulse_a_total\", \"x\" => y); gauge!(\n    \"carapulse_b\"\n)";
        assert_eq!(
            of_macros(code).into_iter().collect::<Vec<_>>(),
            ["carapulse_a_total", "carapulse_b"]
        );
        let found = words("sum(rate(carapulse_a_bucket{le=\"1\"}[5m])) / carapulse_b");
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["carapulse_a_bucket", "carapulse_b"]
        );
    }
}
