//! `cargo xtask test`: the whole suite, set up by itself.
//!
//! Plain: unit and integration tests of the product (the integration tests start their own Postgres), then those
//! of xtask. `--real`: the tests under `tests/e2e` against real servers; one that is missing is an error, never a
//! test less.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::report::{capture, run as run_command, say, step};
use crate::{kube, tools, workspace};

/// The end-to-end tests: a test target of their own, started with what only `--real` sets up.
const E2E: &str = "e2e";

/// Paths that the end-to-end tests are told about: variable, program.
const PROGRAMS: &[(&str, &str)] = &[
    ("CARAPULSE_TEST_ALERTMANAGER", "prometheus-alertmanager"),
    ("CARAPULSE_TEST_AMTOOL", "amtool"),
    ("CARAPULSE_TEST_PROMETHEUS", "prometheus"),
    ("CARAPULSE_TEST_OPA", "opa"),
];

/// Runs `xtask test`.
pub fn run(real: bool, filter: &[String]) -> Result<()> {
    say_versions()?;
    let mut counts = Counts::default();
    let result = if real {
        real_servers(filter, &mut counts)
    } else {
        suite(filter, &mut counts)
    };
    println!("{} passed, {} failed", counts.passed, counts.failed);
    result?;
    if counts.failed > 0 {
        bail!("{} tests failed", counts.failed);
    }
    if counts.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// The arguments of cargo that name the product's tests.
pub fn product_arguments() -> Result<Vec<String>> {
    let mut arguments = ["test", "--package=carapulse", "--lib"]
        .map(str::to_owned)
        .to_vec();
    let targets = integration_tests()?;
    arguments.extend(targets.iter().map(|name| format!("--test={name}")));
    Ok(arguments)
}

fn suite(filter: &[String], counts: &mut Counts) -> Result<()> {
    let product = product_arguments()?;
    let xtask = vec!["test".to_owned(), "--package=xtask".to_owned()];
    step("building", || {
        run_command(cargo(&product).arg("--no-run"))?;
        run_command(cargo(&xtask).arg("--no-run"))
    })?;
    let mut failed = Vec::new();
    for (name, arguments) in [("the product's tests", product), ("xtask's tests", xtask)] {
        let ran = step(name, || {
            let mut child = with_filter(&mut cargo(&arguments), filter)
                .spawn()
                .context("cannot start cargo")?;
            count_and_wait(&mut child, counts, |child| Ok(child.wait()?))
        });
        failed.extend(ran.err().map(|error| format!("{name}: {error:#}")));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

fn real_servers(filter: &[String], counts: &mut Counts) -> Result<()> {
    if !workspace::path("tests/e2e/main.rs").is_file() {
        bail!("there are no end-to-end tests: tests/e2e/main.rs is missing");
    }
    tools::fetch(&["all".to_owned()])?;
    let e2e = ["test", "--package=carapulse", "--test=e2e"].map(str::to_owned);
    step("building", || run_command(cargo(&e2e).arg("--no-run")))?;
    let mut command = cargo(&e2e);
    for (variable, program) in PROGRAMS {
        command.env(variable, tools::ensure(program)?);
    }
    kube::with_cluster(|session| {
        step("the end-to-end tests", || {
            let mut child = session.spawn(with_filter(&mut command, filter))?;
            count_and_wait(&mut child, counts, |child| session.wait(child))
        })
    })
}

/// The test targets under `tests/` that a plain run includes: all but the end-to-end tests.
fn integration_tests() -> Result<Vec<String>> {
    let Ok(entries) = workspace::path("tests").read_dir() else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(target_name(&entry?.path()).filter(|name| name != E2E));
    }
    names.sort();
    Ok(names)
}

/// `tests/it/main.rs` and `tests/it.rs` are both the target `it`.
fn target_name(path: &Path) -> Option<String> {
    let is_target = path.join("main.rs").is_file() || path.extension().is_some_and(|ext| ext == "rs");
    let name = path.file_stem().filter(|_| is_target)?;
    Some(name.to_string_lossy().into_owned())
}

fn cargo(arguments: &[String]) -> Command {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    workspace::cargo(&words)
}

fn with_filter<'a>(command: &'a mut Command, filter: &[String]) -> &'a mut Command {
    command
        .arg("--no-fail-fast")
        .arg("--")
        .args(filter)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
}

/// Passes on what the tests print, counts the results, waits.
fn count_and_wait(
    child: &mut Child,
    counts: &mut Counts,
    wait: impl FnOnce(&mut Child) -> Result<ExitStatus>,
) -> Result<()> {
    let output = BufReader::new(child.stdout.take().context("the tests' output is piped")?);
    let reader = thread::spawn(move || {
        let mut counts = Counts::default();
        for line in output.lines().map_while(Result::ok) {
            println!("{line}");
            counts.add(&line);
        }
        counts
    });
    let status = wait(child)?;
    let Ok(seen) = reader.join() else {
        bail!("the tests' output could not be read")
    };
    counts.passed += seen.passed;
    counts.failed += seen.failed;
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    Ok(())
}

fn say_versions() -> Result<()> {
    let rust = capture(&mut workspace::cargo(&["--version"]))
        .context("Rust is needed: install rustup, it takes the version from rust-toolchain.toml")?;
    let git = capture(Command::new("git").arg("--version")).context("git is needed: install it")?;
    say(&format!("{}, {}", rust.trim(), git.trim()));
    Ok(())
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    /// `test result: ok. 5 passed; 1 failed; 0 ignored; …`
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed;" => self.passed += number,
                "failed;" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counts = Counts::default();
        counts.add(
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.10s",
        );
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test plan::tests::nine passed; ... ok");
        assert_eq!((counts.passed, counts.failed), (8, 2));
    }

    #[test]
    fn test_targets_are_folders_with_a_main_and_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("it")).expect("made");
        std::fs::create_dir_all(folder.path().join("fixtures")).expect("made");
        std::fs::write(folder.path().join("it/main.rs"), "").expect("written");
        assert_eq!(target_name(&folder.path().join("it")).as_deref(), Some("it"));
        assert_eq!(
            target_name(&folder.path().join("smoke.rs")).as_deref(),
            Some("smoke")
        );
        assert_eq!(target_name(&folder.path().join("fixtures")), None);
    }
}
