//! A cgroup for one job, under a delegated parent that the configuration names. Without one, rlimits bound the job.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Error, Limits};

const REMEDY: &str = "delegate a cgroup v2 with the memory and pids controllers (systemd: Delegate=yes), or unset sandbox.cgroup_parent";

/// Removed, with everything in it killed, when dropped.
#[derive(Debug)]
pub(super) struct JobCgroup(PathBuf);

impl JobCgroup {
    pub(super) fn create(parent: &Path, nonce: Uuid, limits: &Limits) -> Result<Self, Error> {
        let refused = |e: io::Error| Error::Refused {
            layer: "cgroup".to_owned(),
            reason: format!("{}: {e}", parent.display()),
            remedy: REMEDY.to_owned(),
        };
        let path = parent.join(format!("job-{}", nonce.simple()));
        fs::create_dir(&path).map_err(refused)?;
        let group = Self(path);
        // A file that does not exist means a controller that is not there: fs::write would create it on other file systems.
        let write = |name: &str, value: String| {
            use io::Write;
            fs::OpenOptions::new()
                .write(true)
                .open(group.0.join(name))?
                .write_all(value.as_bytes())
        };
        write("memory.max", limits.memory_bytes.to_string()).map_err(refused)?;
        write("pids.max", (limits.processes + 8).to_string()).map_err(refused)?;
        Ok(group)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for JobCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        // Only an empty group can be removed; one that is left is empty and costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
