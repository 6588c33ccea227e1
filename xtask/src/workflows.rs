//! `cargo xtask workflows`: what is under `.github` read by the linters made for it. `actionlint` knows the syntax,
//! the contexts and the runners; `zizmor` knows the attacks.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::{run as run_command, step};
use crate::{tools, workspace};

/// Runs `xtask workflows`.
pub fn run() -> Result<()> {
    step("actionlint", || {
        let mut lint = Command::new(tools::ensure("actionlint")?);
        run_command(lint.current_dir(workspace::root()).args(workflow_files()?))
    })?;
    step("zizmor", || {
        let mut audit = Command::new(tools::ensure("zizmor")?);
        audit
            .current_dir(workspace::root())
            .args(["--offline", "--quiet"]);
        run_command(audit.args(["--no-progress", "--strict-collection", ".github"]))
    })
}

/// Named one by one: actionlint finds none by itself when the folder is not the root of a repository of its own.
fn workflow_files() -> Result<Vec<String>> {
    let folder = ".github/workflows";
    let mut files = Vec::new();
    for entry in workspace::path(folder).read_dir().context(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yml") || name.ends_with(".yaml") {
            files.push(format!("{folder}/{name}"));
        }
    }
    if files.is_empty() {
        bail!("there are no workflows under {folder}");
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workflow_is_named() {
        let files = workflow_files().expect("listed");
        for name in ["ci", "docker", "e2e", "release"] {
            assert!(files.contains(&format!(".github/workflows/{name}.yml")), "{name}");
        }
    }
}
