//! Installs a system package without letting its service start.
//!
//! A `policy-rc.d` that forbids every start is put in place for the time of the install, unless the machine has
//! one of its own; afterwards the package's services are stopped and disabled. Needs root and apt-get: elsewhere
//! the tool must already be on PATH.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::manifest::Tool;
use crate::report::{capture, step};

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the package of `tool`; an error says why this machine cannot.
pub fn install(tool: &Tool) -> Result<()> {
    let package = tool.package.as_deref().context("an apt tool names its package")?;
    let services: Vec<&str> = tool.services.iter().map(String::as_str).collect();
    packages(&[package], &services)
}

/// Installs system packages; their services neither start nor stay enabled.
pub fn packages(names: &[&str], services: &[&str]) -> Result<()> {
    let shown = names.join(" ");
    if !nix::unistd::geteuid().is_root() {
        bail!("needs system packages, and only root can install them: `apt-get install {shown}`");
    }
    if super::on_path("apt-get").is_none() {
        bail!("needs `{shown}`, and this machine has no apt-get: put its programs on PATH");
    }
    step(&format!("installing from the system: {shown}"), || {
        let _guard = NoServiceStarts::new(Path::new(POLICY))?;
        let words: Vec<&str> = ["install", "--yes", "--no-install-recommends"]
            .into_iter()
            .chain(names.iter().copied())
            .collect();
        if apt_get(&words).is_err() {
            apt_get(&["update"])?;
            apt_get(&words)?;
        }
        disable(services);
        Ok(())
    })
}

fn apt_get(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300", "-q"])
        .args(arguments);
    capture(
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null()),
    )
}

/// Best effort by design: a machine without an init system has nothing to stop or to disable.
fn disable(services: &[&str]) {
    for service in services {
        for command in [["service", service, "stop"], ["update-rc.d", service, "disable"]] {
            quietly(&command);
        }
        if Path::new("/run/systemd/system").exists() {
            quietly(&["systemctl", "disable", "--now", service]);
        }
    }
}

fn quietly(words: &[&str]) {
    let mut command = Command::new(words[0]);
    let _ = command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Forbids service starts for as long as it lives; a policy that was there before is left alone.
struct NoServiceStarts<'a>(Option<&'a Path>);

impl<'a> NoServiceStarts<'a> {
    fn new(path: &'a Path) -> Result<Self> {
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for NoServiceStarts<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lives_as_long_as_the_guard_and_a_foreign_one_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("policy-rc.d");
        let guard = NoServiceStarts::new(&path).expect("written");
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o755
        );
        drop(guard);
        assert!(!path.exists());

        fs::write(&path, "theirs").expect("written");
        drop(NoServiceStarts::new(&path).expect("left alone"));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "theirs");
    }
}
