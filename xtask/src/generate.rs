//! `cargo xtask gen`: files in the repository that the program itself describes.
//!
//! In: the table below. Out: each file as the program prints it now; with `--check`, the first line that differs.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::report::{capture, say, step};
use crate::{chart, workspace};

/// A file, and the arguments with which `carapulse` prints it.
const GENERATED: &[(&str, &[&str])] = &[
    ("docs/reference/config.schema.json", &["config", "schema"]),
    ("policies/.manifest", &["policy", "manifest"]),
];

/// Runs `xtask gen`.
pub fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (file, arguments) in GENERATED {
        let wanted = step(&format!("carapulse {}", arguments.join(" ")), || print(arguments))?;
        compare(file, &wanted, check, &mut stale)?;
    }
    // After the program's own: the chart's schema follows that of the configuration.
    for (file, wanted) in chart::generated()? {
        compare(&file, &wanted, check, &mut stale)?;
    }
    if !stale.is_empty() {
        bail!(
            "not as the program says; `cargo xtask gen` writes them anew:\n{}",
            stale.join("\n")
        );
    }
    Ok(())
}

fn compare(file: &str, wanted: &str, check: bool, stale: &mut Vec<String>) -> Result<()> {
    let present = fs::read_to_string(workspace::path(file)).unwrap_or_default();
    match difference(&present, wanted) {
        None => {}
        Some(difference) if check => stale.push(format!("{file}: {difference}")),
        Some(_) => write(file, wanted)?,
    }
    Ok(())
}

fn print(arguments: &[&str]) -> Result<String> {
    let mut command = workspace::cargo(&["run", "--quiet", "--package=carapulse", "--bin=carapulse", "--"]);
    let text = capture(command.args(arguments))?;
    if text.trim().is_empty() {
        bail!("`carapulse {}` printed nothing", arguments.join(" "));
    }
    Ok(text)
}

fn write(file: &str, text: &str) -> Result<()> {
    let path = workspace::path(file);
    fs::create_dir_all(path.parent().context("a generated file lies in a folder")?)?;
    fs::write(&path, text)?;
    say(&format!("wrote {file}"));
    Ok(())
}

/// The first line in which two texts differ; none when they are the same.
pub fn difference(present: &str, wanted: &str) -> Option<String> {
    if present == wanted {
        return None;
    }
    if present.is_empty() {
        return Some("is missing".to_owned());
    }
    let (mut old, mut new) = (present.lines(), wanted.lines());
    let mut line = 1;
    loop {
        match (old.next(), new.next()) {
            (None, None) => return Some("differs at the end of the file".to_owned()),
            (left, right) if left == right => line += 1,
            (left, right) => {
                return Some(format!(
                    "line {line}:\n  - {}\n  + {}",
                    left.unwrap_or(""),
                    right.unwrap_or("")
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_shown() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("", "a\n").as_deref(), Some("is missing"));
        assert_eq!(
            difference("a\nb\n", "a\nc\n").as_deref(),
            Some("line 2:\n  - b\n  + c")
        );
        assert_eq!(
            difference("a", "a\n").as_deref(),
            Some("differs at the end of the file")
        );
    }
}
