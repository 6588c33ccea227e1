//! podman on a machine that may have neither it nor systemd.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools::{self, apt, on_path};

/// What building and running takes, on Debian.
const PACKAGES: &[&str] = &[
    "buildah",
    "podman",
    "runc",
    "skopeo",
    "debootstrap",
    "netavark",
    "aardvark-dns",
    "uidmap",
    "fuse-overlayfs",
    "catatonit",
    "iptables",
];

/// Programs of those packages without which nothing works.
const PROGRAMS: &[&str] = &["buildah", "podman", "runc", "debootstrap"];

/// Started by the packages where there is a systemd; nothing here needs them.
const SERVICES: &[&str] = &["podman.socket", "podman-auto-update.timer"];

/// Without systemd: cgroups by the file system, runc (crun refuses hybrid cgroups), events in a file.
const SETTINGS: &str = r#"[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"

[network]
network_backend = "netavark"
"#;

/// Installs what is missing where that can be done; the settings to run with, none where the machine's own will do.
pub fn prepare() -> Result<Option<PathBuf>> {
    if Path::new("/run/systemd/system").exists() {
        return match on_path("podman") {
            Some(_) => Ok(None),
            None => install().map(|()| None),
        };
    }
    if PROGRAMS.iter().any(|name| on_path(name).is_none()) {
        install()?;
    }
    let file = tools::cache_root()?.join("images/containers.conf");
    fs::create_dir_all(file.parent().context("the file is in a folder")?)?;
    fs::write(&file, SETTINGS).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Some(file))
}

fn install() -> Result<()> {
    apt::packages(PACKAGES, SERVICES)?;
    match PROGRAMS.iter().find(|name| on_path(name).is_none()) {
        Some(name) => bail!("`{name}` is not there although its package was installed"),
        None => Ok(()),
    }
}
