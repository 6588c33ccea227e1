//! The values with which the chart is tried.
//!
//! `chart/ci/*.yaml` each alone; the values files that ship with the chart; each release of the example of five; the chart as it is.
//! `chart/ci/refused/*.yaml` must not render; the first line of each, `# refused: TEXT`, says what the refusal holds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Values files, in the order in which they are laid over each other.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub files: Vec<PathBuf>,
}

impl Entry {
    /// As helm takes them.
    pub fn arguments(&self) -> Vec<String> {
        let pairs = self
            .files
            .iter()
            .flat_map(|file| ["--values".to_owned(), file.display().to_string()]);
        pairs.collect()
    }
}

/// Every entry that must render.
pub fn entries() -> Result<Vec<Entry>> {
    let chart = workspace::path("chart");
    let entry = |name: &str, files: &[&str]| Entry {
        name: name.to_owned(),
        files: files.iter().map(|file| chart.join(file)).collect(),
    };
    let mut entries = vec![
        entry("default", &[]),
        entry("ha", &["values-ha.yaml"]),
        entry("airgap", &["values-airgap.yaml"]),
    ];
    for role in ["gateway", "tool-router", "orchestrator", "agent", "sandbox"] {
        let own = format!("examples/five/{role}.yaml");
        entries.push(entry(
            &format!("five-{role}"),
            &["examples/five/every.yaml", &own],
        ));
    }
    for file in yaml_files(&chart.join("ci"))? {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if entries.iter().any(|entry| entry.name == name) {
            bail!("chart/ci/{name}.yaml: the name is taken");
        }
        entries.push(Entry {
            name,
            files: vec![file],
        });
    }
    Ok(entries)
}

/// Every entry that must be refused, and what the refusal must say.
pub fn refused() -> Result<Vec<(Entry, String)>> {
    let mut refused = Vec::new();
    for file in yaml_files(&workspace::path("chart/ci/refused"))? {
        let text = fs::read_to_string(&file)?;
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# refused: "))
            .with_context(|| format!("{}: begins with no `# refused: TEXT`", file.display()))?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        refused.push((
            Entry {
                name,
                files: vec![file.clone()],
            },
            expected.trim().to_owned(),
        ));
    }
    Ok(refused)
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "yaml"));
    files.sort();
    if files.is_empty() {
        bail!("{} holds no values", folder.display());
    }
    Ok(files)
}
