//! The cluster's processes: started with a log and a pid file each, found again and stopped by these files.
//!
//! Each process leads a group of its own, so that Ctrl-C in the terminal does not reach it before `stop` does.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::report::last_lines;

/// How long the processes may take to end by themselves before they are killed.
const GRACE: Duration = Duration::from_secs(2);

/// The processes of one run folder: `DIR/pids/NAME`, `DIR/logs/NAME.log`.
pub struct Processes {
    folder: PathBuf,
}

impl Processes {
    /// For a folder that may or may not have processes yet.
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Starts one program in the background; its output goes to its log.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<()> {
        fs::create_dir_all(self.folder.join("pids"))?;
        fs::create_dir_all(self.folder.join("logs"))?;
        let log = File::create(self.log(name))?;
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        fs::write(self.folder.join("pids").join(name), child.id().to_string())?;
        Ok(())
    }

    /// An error that quotes the log of the first process that has ended.
    pub fn check(&self) -> Result<()> {
        for (name, pid) in self.pids()? {
            if !is_alive(pid) {
                bail!("{name} has ended; the end of its log:\n{}", self.log_tail(&name));
            }
        }
        Ok(())
    }

    /// The last lines of every log, for the error of a cluster that did not become ready.
    pub fn log_tails(&self) -> String {
        let names = self.pids().unwrap_or_default().into_iter().map(|(name, _)| name);
        names
            .map(|name| format!("  {name}:\n{}", self.log_tail(&name)))
            .collect()
    }

    /// Ends all processes of the folder: asked first, killed after a few seconds. Returns how many there were.
    pub fn stop(&self) -> Result<usize> {
        let mut alive = self.pids()?;
        alive.retain(|(_, pid)| is_alive(*pid) && self.is_ours(*pid));
        let count = alive.len();
        for (_, pid) in &alive {
            let _ = kill(*pid, Signal::SIGTERM);
        }
        let deadline = Instant::now() + GRACE;
        while !alive.is_empty() && Instant::now() < deadline {
            alive.retain(|(_, pid)| is_alive(*pid));
            thread::sleep(Duration::from_millis(20));
        }
        for (_, pid) in &alive {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        while alive.iter().any(|(_, pid)| is_alive(*pid)) {
            if Instant::now() > deadline + GRACE {
                bail!("{} did not end after SIGKILL", alive[0].0);
            }
            thread::sleep(Duration::from_millis(20));
        }
        match fs::remove_dir_all(self.folder.join("pids")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(count),
        }
    }

    fn pids(&self) -> Result<Vec<(String, Pid)>> {
        let Ok(entries) = fs::read_dir(self.folder.join("pids")) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let pid = fs::read_to_string(&path)?
                .trim()
                .parse()
                .with_context(|| path.display().to_string())?;
            found.push((name, Pid::from_raw(pid)));
        }
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(found)
    }

    /// Process ids are reused: one from an old file is only ours when it works in this folder. Where the system
    /// does not tell, the file is believed.
    fn is_ours(&self, pid: Pid) -> bool {
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(folder) => fs::canonicalize(&self.folder).is_ok_and(|ours| ours == folder),
            Err(_) => !Path::new("/proc/self").exists(),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn log_tail(&self, name: &str) -> String {
        last_lines(&fs::read_to_string(self.log(name)).unwrap_or_default(), 15)
    }
}

/// A child of ours that has ended is reaped here; a process that somebody else started is only looked at.
fn is_alive(pid: Pid) -> bool {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => true,
        Err(Errno::ECHILD) => kill(pid, None).is_ok() && !is_zombie(pid),
        _ => false,
    }
}

/// Ended, but whoever adopted it has not noticed yet.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_process_is_seen_and_stopped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let processes = Processes::of(folder.path());
        processes
            .start("sleeper", Command::new("sleep").arg("60"))
            .expect("started");
        processes.check().expect("alive");
        assert_eq!(processes.stop().expect("stopped"), 1);
        assert_eq!(processes.stop().expect("nothing left"), 0);
    }

    #[test]
    fn a_process_that_ends_is_named_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let processes = Processes::of(folder.path());
        processes
            .start(
                "liar",
                Command::new("sh").args(["-c", "echo no such flag; exit 1"]),
            )
            .expect("started");
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            match processes.check() {
                Err(error) => break error.to_string(),
                Ok(()) if Instant::now() > deadline => panic!("the end was not noticed"),
                Ok(()) => thread::yield_now(),
            }
        };
        assert!(error.contains("liar has ended"), "{error}");
        assert!(error.contains("no such flag"), "{error}");
    }

    #[test]
    fn a_foreign_process_in_an_old_pid_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut foreign = Command::new("sleep")
            .arg("60")
            .current_dir("/")
            .spawn()
            .expect("started");
        fs::create_dir(folder.path().join("pids")).expect("made");
        fs::write(folder.path().join("pids/etcd"), foreign.id().to_string()).expect("written");
        assert_eq!(Processes::of(folder.path()).stop().expect("nothing of ours"), 0);
        assert!(foreign.try_wait().expect("asked").is_none(), "it must still run");
        foreign.kill().expect("ours to end");
        foreign.wait().expect("ended");
    }
}
