//! The instrumented build: our packages with counters, their dependencies as they are.
//!
//! Cargo calls the compiler of workspace members through a wrapper, which adds the flag; dependencies are not counted
//! and need no rebuild.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::report::{capture, run as run_command};
use crate::{test, workspace};

/// Cargo builds anew for a wrapper of another name, not for another text: a change here wants a new one.
const WRAPPER_NAME: &str = "rustc-that-counts-in-the-file";
/// The counters lie in the file itself, so that a process that is killed, as many tests do, has written what it counted.
const WRAPPER: &str =
    "#!/bin/sh\nexec \"$@\" -C instrument-coverage -C llvm-args=-runtime-counter-relocation\n";

/// A folder of its own for the wrapper and the counts.
pub struct Build {
    folder: PathBuf,
}

impl Build {
    /// Removes what an earlier run counted.
    pub fn new() -> Result<Self> {
        let folder = target_folder()?.join("coverage");
        let counts = folder.join("counts");
        if counts.exists() {
            fs::remove_dir_all(&counts)?;
        }
        fs::create_dir_all(&counts).with_context(|| format!("cannot make {}", counts.display()))?;
        let wrapper = folder.join(WRAPPER_NAME);
        fs::write(&wrapper, WRAPPER)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Builds the tests; the executables that carry the counters' names.
    pub fn objects(&self) -> Result<Vec<PathBuf>> {
        let mut build = self.cargo_test()?;
        build.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let objects = executables(&capture(build.stderr(Stdio::inherit()))?);
        if objects.is_empty() {
            bail!("cargo named no executable");
        }
        Ok(objects)
    }

    pub fn test(&self) -> Result<()> {
        run_command(self.cargo_test()?.arg("--no-fail-fast").stdin(Stdio::null()))
    }

    /// The files that the processes of the run left. Those within the sandbox, whose environment is what the job says, leave none.
    pub fn counts(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.join("counts"))? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|ext| ext == "profraw"));
        if files.is_empty() {
            bail!("the tests left no counts");
        }
        Ok(files)
    }

    fn cargo_test(&self) -> Result<Command> {
        let arguments = test::product_arguments()?;
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = workspace::cargo(&words);
        // %m names the executable, %p the process: no two write to one file; %c keeps the counters in it.
        command
            .env("RUSTC_WORKSPACE_WRAPPER", self.folder.join(WRAPPER_NAME))
            .env("LLVM_PROFILE_FILE", self.folder.join("counts/%m-%p%c.profraw"))
            .env("CARGO_INCREMENTAL", "0");
        Ok(command)
    }
}

fn target_folder() -> Result<PathBuf> {
    let mut metadata = workspace::cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let text = capture(metadata.stderr(Stdio::null()))?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let folder = value["target_directory"]
        .as_str()
        .context("cargo names its target folder")?;
    Ok(PathBuf::from(folder))
}

/// From cargo's messages, one JSON object a line: test executables and the product's own.
fn executables(messages: &str) -> Vec<PathBuf> {
    let parsed = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    parsed
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargo_s_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/deps/it-1\"}\n",
            "{\"reason\":\"build-finished\",\"executable\":\"/t/no\"}\n",
        );
        assert_eq!(executables(messages), [PathBuf::from("/t/deps/it-1")]);
    }

    #[test]
    fn the_wrapper_adds_the_flag_and_changes_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wrapper = folder.path().join("wrapper");
        fs::write(&wrapper, WRAPPER).expect("written");
        let out = Command::new("sh")
            .arg(&wrapper)
            .args(["echo", "a b", "c"])
            .output()
            .expect("ran");
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "a b c -C instrument-coverage -C llvm-args=-runtime-counter-relocation\n"
        );
    }
}
