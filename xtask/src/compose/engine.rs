//! Where the containers run: Docker where its daemon answers, else podman behind a socket that it is made to serve.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::report::capture;
use crate::tools::{cache_root, on_path};

/// Pause between two rounds of health checks, where nothing else runs them.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// The engine, for as long as this lives.
pub enum Engine {
    Docker,
    Podman(Served),
}

/// podman's service, and the checks of a project's containers.
pub struct Served {
    service: Child,
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    checks: Option<JoinHandle<()>>,
}

impl Engine {
    /// Docker, else podman, whose socket is put into `folder`.
    pub fn find(folder: &Path, project: &str) -> Result<Self> {
        if quiet(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])) {
            return Ok(Self::Docker);
        }
        if on_path("podman").is_none() {
            bail!(
                "neither a Docker daemon nor podman is here: `cargo xtask images` installs podman on Debian"
            );
        }
        Served::start(folder, project).map(Self::Podman)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman(_) => "podman",
        }
    }

    /// Images that are missing must be made here: no registry is asked.
    pub fn is_podman(&self) -> bool {
        matches!(self, Self::Podman(_))
    }

    /// The engine's own command line.
    pub fn command(&self) -> Command {
        match self {
            Self::Docker => Command::new("docker"),
            Self::Podman(_) => podman(),
        }
    }

    /// Lets a client of Docker find this engine.
    pub fn address(&self, command: &mut Command) {
        if let Self::Podman(served) = self {
            command.env("DOCKER_HOST", format!("unix://{}", served.socket.display()));
        }
    }

    pub fn has_image(&self, name: &str) -> bool {
        quiet(self.command().args(["image", "inspect", name]))
    }
}

impl Served {
    fn start(folder: &Path, project: &str) -> Result<Self> {
        let socket = folder.join("podman.sock");
        let service = podman()
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start podman's service")?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut served = Self {
            service,
            socket,
            stop: Arc::clone(&stop),
            checks: None,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !served.socket.exists() {
            if let Some(status) = served.service.try_wait()? {
                bail!("podman's service ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("podman's service made no socket");
            }
            thread::sleep(Duration::from_millis(50));
        }
        // podman leaves health checks to timers of systemd.
        if !Path::new("/run/systemd/system").exists() {
            let label = format!("label=com.docker.compose.project={project}");
            served.checks = Some(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    check_all(&label);
                    thread::sleep(CHECK_EVERY);
                }
            }));
        }
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(checks) = self.checks.take() {
            // A check that panicked has said so.
            let _ended = checks.join();
        }
        // Already ended is as good as killed.
        let _killed = self.service.kill();
        let _waited = self.service.wait();
    }
}

fn check_all(label: &str) {
    let Ok(ids) = capture(podman().args(["ps", "--quiet", "--filter", label])) else {
        return;
    };
    for id in ids.split_whitespace() {
        quiet(podman().args(["healthcheck", "run", id]));
    }
}

/// podman with the settings that a machine without systemd needs; `cargo xtask images` writes them.
pub fn podman() -> Command {
    with_settings("podman")
}

/// A program of podman's family, with those settings.
pub fn with_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    if let Ok(cache) = cache_root() {
        let settings = cache.join("images/containers.conf");
        if settings.is_file() {
            command.env("CONTAINERS_CONF", settings);
        }
    }
    command
}

fn quiet(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
