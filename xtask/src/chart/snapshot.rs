//! `cargo xtask chart snapshot [--update]`: what each entry of the matrix renders to, beside what was checked in.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::helm::{Helm, KUBE_VERSION};
use super::matrix;
use crate::generate::difference;
use crate::report::say;
use crate::workspace;

const FOLDER: &str = "chart/ci/snapshots";

/// Compares, or writes anew.
pub fn run(update: bool) -> Result<()> {
    let helm = Helm::find()?;
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for entry in matrix::entries()? {
        let file = format!("{FOLDER}/{}.yaml", entry.name);
        let rendered = helm.template(&entry, KUBE_VERSION)?;
        let path = workspace::path(&file);
        known.insert(path.clone());
        let present = fs::read_to_string(&path).unwrap_or_default();
        let Some(difference) = difference(&present, &rendered) else {
            continue;
        };
        if update {
            fs::create_dir_all(workspace::path(FOLDER))?;
            fs::write(&path, rendered)?;
            say(&format!("wrote {file}"));
        } else {
            wrong.push(format!("{file}: {difference}"));
        }
    }
    for path in leftovers(&known)? {
        if update {
            fs::remove_file(&path)?;
            say(&format!("removed {}", path.display()));
        } else {
            wrong.push(format!("{}: of no entry", path.display()));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "the chart renders to something else; when that is meant, `cargo xtask chart snapshot --update`:\n{}",
            wrong.join("\n")
        );
    }
    say(&format!("chart: {} snapshots are as rendered", known.len()));
    Ok(())
}

fn leftovers(known: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(workspace::path(FOLDER)) else {
        return Ok(Vec::new());
    };
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    Ok(paths.into_iter().filter(|path| !known.contains(path)).collect())
}
