//! A role as a process: started on a configuration file, told where to die, killed when dropped.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

/// A running role.
pub(crate) struct Process {
    pub(crate) role: &'static str,
    child: Child,
    log: PathBuf,
    health: String,
}

/// Whether a role still runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    Killed,
    Ended,
}

impl Process {
    /// Starts `carapulse serve --role ROLE`; what it says goes to a file in `dir`. Its environment names no database.
    pub(crate) fn start(
        dir: &Path,
        role: &'static str,
        config: &Path,
        port: u16,
        crash: Option<&str>,
    ) -> Self {
        let log = dir.join(format!("{role}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_carapulse"));
        command
            .arg("--config")
            .arg(config)
            .args(["serve", "--role", role]);
        command
            .env_remove("DATABASE_URL")
            .env_remove("CARAPULSE_CRASH_AT");
        if let Some(place) = crash {
            command.env("CARAPULSE_CRASH_AT", place);
        }
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        Self {
            role,
            child: command.spawn().unwrap(),
            log,
            health: format!("http://127.0.0.1:{port}/readyz"),
        }
    }

    /// Waits until it is ready, or has died where it was told to.
    pub(crate) async fn ready(&mut self, http: &reqwest::Client) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let life = self.life();
            assert_ne!(life, Life::Ended, "{} ended: {}", self.role, self.tail());
            let answer = http.get(&self.health).send().await;
            if life == Life::Killed || answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} is not ready: {}",
                self.role,
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    pub(crate) fn life(&mut self) -> Life {
        match self.child.try_wait().unwrap() {
            None => Life::Runs,
            Some(status) if status.signal() == Some(9) => Life::Killed,
            Some(_) => Life::Ended,
        }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The last of what it said.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
