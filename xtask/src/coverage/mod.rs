//! `cargo xtask coverage`: which lines the suite runs, held to a floor that is checked in.
//!
//! In: the product's tests (the same as `cargo xtask test`, without xtask's own), built with the compiler's own
//! instrumentation. Out, in a folder: `summary.md`, `summary.json`, `lcov.info`; an error below the floor of
//! `coverage.toml`, which can only be raised.
//! Counted are the lines under `src/`, its test modules included (stable Rust cannot leave them out) except in files
//! of their own, and what a process ran until it was killed. What runs within the sandbox is not seen.

mod instrument;
mod llvm;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::report::{say, step};
use crate::workspace;
use instrument::Build;
use llvm::Llvm;
use summary::Summary;

const FLOOR_FILE: &str = "coverage.toml";
/// No floor is lower than this.
pub const MINIMUM: f64 = 80.0;

/// Runs `xtask coverage`.
pub fn run(out: Option<&Path>, raise: bool) -> Result<()> {
    let floor = floor()?;
    let llvm = Llvm::find()?;
    let build = Build::new()?;
    let out = out.map_or_else(|| build.folder().join("report"), Path::to_path_buf);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let objects = step("building with counters", || build.objects())?;
    let tested = step("the product's tests, counted", || build.test());
    let summary = step("reading the counts", || {
        let profile = llvm.merge(&build.counts()?, &build.folder().join("merged.profdata"))?;
        fs::write(out.join("lcov.info"), llvm.lcov(&profile, &objects)?)?;
        Summary::of(&llvm.totals(&profile, &objects)?, workspace::root())
    })?;
    fs::write(out.join("summary.json"), summary.json()?)?;
    fs::write(out.join("summary.md"), summary.markdown(floor))?;
    say(&summary.line(floor));
    tested?;
    if raise {
        return raise_floor(floor, summary.percent());
    }
    hold(floor, summary.percent())
}

/// The floor that is checked in; an error when it is under the minimum.
pub fn floor() -> Result<f64> {
    let text = fs::read_to_string(workspace::path(FLOOR_FILE)).context(FLOOR_FILE)?;
    parse_floor(&text)
}

fn parse_floor(text: &str) -> Result<f64> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Floor {
        lines_percent: f64,
    }
    let floor: Floor = toml::from_str(text).context(FLOOR_FILE)?;
    if floor.lines_percent < MINIMUM {
        bail!(
            "{FLOOR_FILE}: the floor is {}, and never under {MINIMUM}",
            floor.lines_percent
        );
    }
    Ok(floor.lines_percent)
}

fn hold(floor: f64, measured: f64) -> Result<()> {
    if measured < floor {
        bail!("coverage fell to {measured:.2} %, below the floor of {floor:.2} %: test what you added");
    }
    Ok(())
}

/// Rounds down, so that the next run of the same code stands above the floor.
fn raise_floor(floor: f64, measured: f64) -> Result<()> {
    hold(floor, measured)?;
    let path: PathBuf = workspace::path(FLOOR_FILE);
    let text = fs::read_to_string(&path)?;
    let raised = (measured * 10.0).floor() / 10.0;
    fs::write(&path, with_floor(&text, raised))?;
    say(&format!("{FLOOR_FILE}: the floor is now {raised:.1} %"));
    Ok(())
}

fn with_floor(text: &str, floor: f64) -> String {
    let kept = text
        .lines()
        .filter(|line| !line.starts_with("# Not measured yet"));
    let lines = kept.map(|line| match line.split_once('=') {
        Some(("lines_percent ", _)) => format!("lines_percent = {floor:.1}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_under_the_minimum_or_with_another_key_is_refused() {
        assert!(parse_floor("lines_percent = 79.9").is_err());
        assert!(parse_floor("lines_percent = 81.0\nother = 1").is_err());
        assert!(parse_floor("lines_percent = 80.0").is_ok_and(|floor| floor >= MINIMUM));
        assert!(floor().is_ok_and(|floor| floor >= MINIMUM));
    }

    #[test]
    fn below_the_floor_is_an_error_at_the_floor_is_not() {
        assert!(hold(80.0, 79.99).is_err());
        assert!(hold(80.0, 80.0).is_ok());
    }

    #[test]
    fn a_raised_floor_keeps_the_file_s_words() {
        let text = "# why\n# Not measured yet: x\nlines_percent = 80.0\n";
        assert_eq!(with_floor(text, 84.3), "# why\nlines_percent = 84.3\n");
    }
}
