//! `cargo xtask chart config`: the program reads what the chart writes for each of its roles.
//!
//! Each `carapulse.toml` that an entry of the matrix renders is given to `carapulse config check --role`; the migration's is
//! read as a whole. So a section or key that the program does not know, or no longer knows, is found here and not by a pod.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::helm::{Helm, KUBE_VERSION, objects, text};
use super::matrix;
use crate::report::{capture, run as run_command, say, step};
use crate::workspace;

/// Runs it over the matrix.
pub fn run() -> Result<()> {
    let program = program()?;
    let helm = Helm::find()?;
    let folder = std::env::temp_dir().join(format!("carapulse-config-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (mut read, mut wrong) = (0, Vec::new());
    for entry in matrix::entries()? {
        for object in objects(&helm.template(&entry, KUBE_VERSION)?)? {
            let Some(config) = object
                .pointer("/stringData/carapulse.toml")
                .and_then(Value::as_str)
            else {
                continue;
            };
            let role = object
                .pointer("/metadata/labels/app.kubernetes.io~1component")
                .and_then(Value::as_str)
                .context("a configuration's Secret is labelled with its role")?;
            let file = folder.join("carapulse.toml");
            fs::write(&file, config)?;
            if let Err(error) = check(&program, &file, role) {
                wrong.push(format!(
                    "{}: {}: {error:#}",
                    entry.name,
                    text(&object, "metadata/name")
                ));
            }
            read += 1;
        }
    }
    fs::remove_dir_all(&folder)?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    say(&format!("chart: the program reads {read} configurations"));
    Ok(())
}

fn check(program: &Path, file: &Path, role: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--config").arg(file).args(["config", "check"]);
    if role != "migration" {
        command.args(["--role", role]);
    }
    capture(command.env_clear().env("HOME", "/nonexistent")).map(drop)
}

/// The product's binary, built as it is now; it lies beside this one.
pub fn program() -> Result<std::path::PathBuf> {
    step("building carapulse", || {
        run_command(&mut workspace::cargo(&[
            "build",
            "--quiet",
            "--package=carapulse",
            "--bin=carapulse",
        ]))
    })?;
    Ok(std::env::current_exe()?.with_file_name("carapulse"))
}
