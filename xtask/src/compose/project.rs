//! One Compose project on this machine: its folder of keys and secrets, its engine, and `docker compose` for it.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use super::{BASE, PROFILES, stand_ins};
use crate::report::{both_streams, capture, last_lines, step};
use crate::tools::{self, cache_root};
use crate::workspace;

/// How long the whole stack may take to be healthy.
const WAIT_SECS: &str = "240";

/// A project: `docker compose --project-name NAME`.
pub struct Project {
    pub name: String,
    pub engine: Engine,
    folder: PathBuf,
    registry: String,
    tag: String,
    ports: Vec<(&'static str, u16)>,
    /// Held for as long as this lives: two runs would take each other's containers down.
    _lock: File,
}

impl Project {
    /// The project of this name; the roles' images are `REGISTRY/ROLE:TAG`.
    pub fn named(name: &str, registry: &str, tag: &str) -> Result<Self> {
        let folder = cache_root()?.join("compose").join(name);
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.with_extension("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another run uses the project {name}");
        }
        Ok(Self {
            engine: Engine::find(&folder, name)?,
            name: name.to_owned(),
            folder,
            registry: registry.to_owned(),
            tag: tag.to_owned(),
            ports: Vec::new(),
            _lock: lock,
        })
    }

    /// With free ports of the loopback address instead of the files' own, so that it disturbs nobody.
    pub fn on_free_ports(mut self) -> Result<Self> {
        let names = [
            "CARAPULSE_PORT",
            "CARAPULSE_CANVAS_PORT",
            "CARAPULSE_AGENT_PORT",
            "CARAPULSE_TEMPORAL_UI_PORT",
            "CARAPULSE_PROMETHEUS_PORT",
            "CARAPULSE_GRAFANA_PORT",
        ];
        let held = names.map(|_| TcpListener::bind("127.0.0.1:0"));
        for (name, listener) in names.into_iter().zip(held) {
            self.ports.push((name, listener?.local_addr()?.port()));
        }
        Ok(self)
    }

    /// Makes what is missing, and brings `services` (none: all without a profile) up until they are healthy.
    pub fn up(&self, services: &[&str]) -> Result<()> {
        self.need_roles()?;
        if self.engine.is_podman() {
            stand_ins::ensure(&self.engine)?;
        }
        step("carapulse init --for compose", || self.init())?;
        step("docker compose up --wait", || {
            let mut command = self.compose();
            command
                .args(["up", "--detach", "--wait", "--wait-timeout", WAIT_SECS])
                .args(services);
            capture(command.stdin(Stdio::null())).map(drop)
        })
        .map_err(|error| error.context(self.tails()))
    }

    /// Ends it, and removes its volumes and networks.
    pub fn down(&self) -> Result<()> {
        let mut command = self.compose();
        for profile in PROFILES {
            command.args(["--profile", profile]);
        }
        command.args(["down", "--volumes", "--remove-orphans", "--timeout", "5"]);
        step(&format!("taking {} down", self.name), || {
            capture(command.stdin(Stdio::null())).map(drop)
        })?;
        fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())
    }

    /// Folder of `carapulse init`.
    pub fn local(&self) -> PathBuf {
        self.folder.join("local")
    }

    /// `docker compose`, on the file as it is.
    pub fn compose(&self) -> Command {
        // Fetched in `up`, and there in every other case.
        let program = tools::ensure("docker-compose").unwrap_or_else(|_| PathBuf::from("docker-compose"));
        let mut command = Command::new(program);
        command
            .current_dir(workspace::root())
            .args(["--project-name", &self.name, "--file", BASE])
            .env("CARAPULSE_LOCAL", self.local())
            .env("CARAPULSE_REGISTRY", &self.registry)
            .env("CARAPULSE_TAG", &self.tag)
            .envs(self.ports.iter().map(|(name, port)| (*name, port.to_string())));
        self.engine.address(&mut command);
        command
    }

    /// What a program in a service's container prints; `environment` is given to it, `input` on its standard input.
    pub fn exec(
        &self,
        service: &str,
        environment: &[(&str, &str)],
        program: &[&str],
        input: &[u8],
    ) -> Result<String> {
        let mut command = self.compose();
        command.args(["exec", "--no-TTY"]);
        for (name, _) in environment {
            // By name only: a token on a command line could be seen.
            command.args(["--env", name]);
        }
        command
            .envs(environment.iter().copied())
            .arg(service)
            .args(program);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start docker compose")?;
        child
            .stdin
            .take()
            .context("its standard input")?
            .write_all(input)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = last_lines(&both_streams(&output), 12);
            bail!(
                "`{}` in {service} ended with {}\n{said}",
                program.join(" "),
                output.status
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Id of a service's container.
    pub fn container(&self, service: &str) -> Result<String> {
        Ok(capture(self.compose().args(["ps", "--quiet", service]))?
            .trim()
            .to_owned())
    }

    fn init(&self) -> Result<()> {
        let local = self.local();
        fs::create_dir_all(&local)?;
        let owner = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
        let mut command = self.engine.command();
        command.args(["run", "--rm", "--network=none", "--user", &owner, "--volume"]);
        command
            .arg(format!("{}:/local", local.display()))
            .arg(self.image("gateway"));
        capture(command.args(["init", "/local", "--for", "compose"])).map(drop)
    }

    fn need_roles(&self) -> Result<()> {
        for role in ["gateway", "tool-router", "orchestrator", "agent", "sandbox"] {
            let image = self.image(role);
            if !self.engine.has_image(&image) {
                bail!("{image} is not there: `cargo xtask images build` makes it");
            }
        }
        Ok(())
    }

    fn image(&self, role: &str) -> String {
        format!("{}/{role}:{}", self.registry, self.tag)
    }

    /// The ends of all logs, for the tail of an error.
    fn tails(&self) -> String {
        let state = capture(
            self.compose()
                .args(["ps", "--all", "--format", "{{.Service}}: {{.Status}}"]),
        );
        let logs = capture(self.compose().args(["logs", "--no-color", "--tail", "6"]));
        format!("{}\n{}", state.unwrap_or_default(), logs.unwrap_or_default())
    }
}
