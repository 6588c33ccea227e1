//! `cargo xtask policy`: the rules under OPA. Format, strict check against schema and capabilities, tests, and every
//! fixture's answer; the same fixtures run in regorus in `cargo test --lib policy`, so both engines are held to one answer.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::report::{run as run_command, say, step};
use crate::{tools, workspace};

/// The program to use instead of the pinned one.
const OPA: &str = "CARAPULSE_TEST_OPA";
const QUERY: &str = "data.policy.assistant.v1.result";

/// Runs `xtask policy`.
pub fn run() -> Result<()> {
    let opa = match std::env::var_os(OPA) {
        Some(path) => PathBuf::from(path),
        None => tools::ensure("opa")?,
    };
    let rules = workspace::path("policies/policy");
    step("opa fmt --diff", || {
        run_command(Command::new(&opa).args(["fmt", "--diff", "--fail"]).arg(&rules))
    })?;
    // The schema is of whole questions; tests ask with parts of one, so they are checked without it.
    step("opa check --strict, with schema and capabilities", || {
        let mut check = Command::new(&opa);
        check.args(["check", "--strict", "--schema"]);
        check.arg(workspace::path("policies/schema/input.json"));
        check
            .arg("--capabilities")
            .arg(workspace::path("policies/capabilities.json"));
        run_command(check.args(files_of_rules(&rules.join("assistant/v1"))?))
    })?;
    step("opa check --strict, tests too", || {
        run_command(Command::new(&opa).args(["check", "--strict"]).arg(&rules))
    })?;
    step("opa test", || {
        run_command(Command::new(&opa).arg("test").arg(&rules))
    })?;
    let count = step("fixtures under opa", || fixtures(&opa, &rules))?;
    say(&format!(
        "{count} fixtures have the answer that is written in them"
    ));
    Ok(())
}

fn fixtures(opa: &Path, rules: &Path) -> Result<usize> {
    let mut wrong = Vec::new();
    let paths = sorted(&workspace::path("policies/fixtures"), |name| {
        name.ends_with(".json")
    })?;
    for path in &paths {
        // OPA prints both, so that both are written alike.
        let text = fs::read_to_string(path)?;
        let query = format!("{QUERY} with input as input.input");
        let answer = eval(opa, rules, &query, &text).with_context(|| path.display().to_string())?;
        let expected = eval(opa, rules, "input.expected", &text)?;
        if answer != expected {
            wrong.push(format!("{}: opa answers {answer}", path.display()));
        }
    }
    if paths.is_empty() {
        bail!("there are no fixtures");
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(paths.len())
}

/// The value of a query, as OPA prints it: keys sorted, sets as sorted lists.
fn eval(opa: &Path, rules: &Path, query: &str, input: &str) -> Result<String> {
    let mut child = Command::new(opa)
        .args(["eval", "--fail", "--format=raw", "--stdin-input", "--data"])
        .arg(rules)
        .arg(query)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("stdin was asked for")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("opa eval `{query}` ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn files_of_rules(folder: &Path) -> Result<Vec<PathBuf>> {
    sorted(folder, |name| {
        name.ends_with(".rego") && !name.ends_with("_test.rego")
    })
}

fn sorted(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| wanted(&name.to_string_lossy()))
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
