//! `cargo xtask tidy`: the shape of the repository, checked against the tables in `rules.rs`.
//!
//! In: every file that git knows or would add. Out: one line a finding, `path:line: rule: what to do`, and exit 1
//! when there is one; a line about file lengths either way.

mod fences;
mod files;
mod imports;
mod migrations;
mod rules;
mod source;
mod text;

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::report::{capture, say};
use crate::workspace;
use source::Source;

/// Runs `xtask tidy`.
pub fn run() -> Result<()> {
    let paths = known_files()?;
    let mut findings = migrations::check(&paths);
    let mut sources = Vec::new();
    for path in &paths {
        // A file that git knows may be gone from the folder; one that is not text is nobody's sentence.
        let Ok(text) = fs::read_to_string(workspace::path(path)) else {
            continue;
        };
        findings.extend(text::check_any(path, &text));
        if path.ends_with(".rs") {
            sources.push(Source::new(path, &text));
        }
    }
    for source in &sources {
        findings.extend(text::check_rust(source));
        findings.extend(files::check(source));
        if source.path.starts_with("src/") {
            findings.extend(imports::check(source));
            findings.extend(fences::check(source));
        }
    }
    say(&format!("tidy: {}", files::lengths(&sources)));
    findings.sort_by(|left, right| (&left.path, left.line).cmp(&(&right.path, right.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    Ok(())
}

/// Something to mend.
pub struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    what_to_do: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, what_to_do: String) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            what_to_do,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.what_to_do
        )
    }
}

fn known_files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(workspace::root());
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]);
    let listed = capture(&mut git)?;
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}
