//! The files of `observability/` that the chart carries a copy of.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;

/// From, to, which.
const COPIED: &[(&str, &str, &str)] = &[
    ("observability/dashboards", "chart/files/dashboards", "json"),
    ("observability/alerts", "chart/files/alerts", "yaml"),
];

/// `(file, text)` of each copy, as it should be.
pub fn copies() -> Result<Vec<(String, String)>> {
    let mut copies = Vec::new();
    for (from, to, extension) in COPIED {
        for name in names(&workspace::path(from), extension)? {
            let text = fs::read_to_string(workspace::path(from).join(&name))
                .with_context(|| format!("{from}/{name}"))?;
            copies.push((format!("{to}/{name}"), text));
        }
    }
    Ok(copies)
}

/// Copies of what is no longer there.
pub fn leftovers() -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (from, to, extension) in COPIED {
        let there = names(&workspace::path(from), extension)?;
        let copied = names(&workspace::path(to), extension)?;
        left.extend(
            copied
                .into_iter()
                .filter(|name| !there.contains(name))
                .map(|name| format!("{to}/{name}")),
        );
    }
    Ok(left)
}

fn names(folder: &Path, extension: &str) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == extension) {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
