//! The demo's processes: the same executable, one process for the orchestrator and one for the other roles.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::time::Instant;

/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two questions whether it is.
const ASK_EVERY: Duration = Duration::from_millis(40);

/// A process of the demo. Killed when dropped, so that nothing outlives the demo.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    health: String,
}

impl Process {
    /// Starts `carapulse serve` with the roles of `args` on `config`; its output goes to a file in `dir`.
    pub(super) fn serve(
        name: &'static str,
        dir: &Path,
        config: &Path,
        health: &str,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--config").arg(config).arg("serve").args(args);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            log,
            health: format!("{health}/readyz"),
        })
    }

    /// Waits until the process says that it is ready.
    pub(super) async fn ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status}; its log says:\n{}",
                    self.name,
                    self.tail()
                );
            }
            let answer = http.get(&self.health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} was not ready within {READY_WITHIN:?}; its log says:\n{}",
                    self.name,
                    self.tail()
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Kills the process with SIGKILL: no drain, no goodbye.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether the process has ended, for whatever reason.
    pub(super) fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _killed = self.kill();
    }
}
