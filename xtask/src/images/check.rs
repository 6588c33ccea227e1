//! `cargo xtask images check`: every image started as it is shipped, until its own HEALTHCHECK passes.
//!
//! In: built images. `carapulse init` and `carapulse migrate up` of the gateway's image make the configuration and the
//! schema, on a real Postgres in a container of its own. Then each role runs with a read-only root, no capabilities, no
//! new privileges, limits on memory and processes, as uid 10001.
//! Always: what was started is removed at the end, however it ends. A health check that cannot fail proves nothing, so
//! each container is also asked for the health of a role that it is not.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::dockerfile::Dockerfile;
use super::engine::{Engine, quiet};
use super::manifest::Image;
use super::{postgres, tag};
use crate::report::{capture, last_lines, say, step};

/// How long a role may take to become healthy, and the database to answer.
const DEADLINE: Duration = Duration::from_secs(90);

/// Between two questions: each starts a process in a container.
const INTERVAL: Duration = Duration::from_millis(500);

/// As Compose and the chart run them.
const CONFINED: &[&str] = &[
    "--read-only",
    "--tmpfs=/tmp:rw,nosuid,nodev,size=64m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=10001:10001",
    "--memory=512m",
    "--pids-limit=256",
];

/// What `carapulse init` leaves to the place: where the others are, and that a container gives no namespaces.
const SETTINGS: &[&str] = &[
    "--env=CARAPULSE_DATABASE__URL=postgres://postgres:5432/carapulse",
    "--env=CARAPULSE_TOOL_ROUTER__BASE_URL=http://tool-router:8081",
    "--env=CARAPULSE_AGENT__GATEWAY_URL=http://gateway:8080",
    "--env=CARAPULSE_SANDBOX__PROFILE=pod",
    "--env=CARAPULSE_SANDBOX__TOOL_DIRS=[\"/opt/carapulse/tools/bin\"]",
];

/// Runs the check; the error names each image that did not pass.
pub fn run(engine: &Engine, images: &[&Image]) -> Result<()> {
    postgres::ensure(engine, &Dockerfile::read()?)?;
    let stage = Stage::new(engine)?;
    step("carapulse init and migrate, in the gateway's image", || {
        stage.prepare()
    })?;
    for image in images {
        stage.start(image)?;
    }
    let mut failed = Vec::new();
    for image in images {
        let passed = step(&format!("{}: its health check", image.name), || {
            stage.healthy(image)
        })
        .and_then(|()| stage.confined(image));
        failed.extend(passed.err().map(|error| format!("{}: {error:#}", image.name)));
    }
    for image in images {
        failed.extend(
            stage
                .stops(image)
                .err()
                .map(|error| format!("{}: {error:#}", image.name)),
        );
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    println!("healthy: {} of {}", images.len(), images.len());
    Ok(())
}

/// Network, volumes and containers of one check, under names of their own.
struct Stage<'a> {
    engine: &'a Engine,
    name: String,
}

impl<'a> Stage<'a> {
    fn new(engine: &'a Engine) -> Result<Self> {
        let name = format!("carapulse-check-{}", std::process::id());
        capture(&mut engine.command(&["network", "create", &name]))?;
        let stage = Self { engine, name };
        capture(&mut engine.command(&["volume", "create", &stage.volume("etc")]))?;
        Ok(stage)
    }

    fn container(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }

    fn volume(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// Keys and configuration, a database, its schema.
    fn prepare(&self) -> Result<()> {
        let gateway = tag("gateway");
        let etc = format!("--volume={}:/etc/carapulse", self.volume("etc"));
        // A new volume belongs to root.
        let own = [
            "run",
            "--rm",
            "--user=0:0",
            "--entrypoint=/bin/chown",
            &etc,
            &gateway,
        ];
        capture(self.engine.command(&own).args(["10001:10001", "/etc/carapulse"]))?;
        let mut init = self.engine.command(&["run", "--rm"]);
        init.args(CONFINED).args([&etc, &gateway]);
        capture(init.args(["init", "/etc/carapulse"]))?;

        let database = self.container("postgres");
        let mut start = self.engine.command(&["run", "--detach", "--name", &database]);
        start.args(["--network", &self.name, "--network-alias=postgres"]);
        capture(start.arg(format!("{etc}:ro")).arg(postgres::IMAGE))?;
        let ready = "/usr/lib/postgresql/*/bin/pg_isready -q -h 127.0.0.1 -d carapulse";
        self.until("the database answers", "postgres", || {
            Ok(quiet(
                &mut self.engine.command(&["exec", &database, "sh", "-c", ready]),
            ))
        })?;

        let mut migrate = self.engine.command(&["run", "--rm"]);
        migrate
            .args(CONFINED)
            .args(SETTINGS)
            .args(["--network", &self.name]);
        migrate.arg(format!("{etc}:ro")).args([&gateway, "migrate", "up"]);
        capture(&mut migrate).map(drop)
    }

    fn start(&self, image: &Image) -> Result<()> {
        let role = &image.name;
        let mut run = self
            .engine
            .command(&["run", "--detach", "--name", &self.container(role)]);
        run.args(CONFINED).args(SETTINGS);
        run.args(["--network", &self.name, "--network-alias", role]);
        run.arg(format!("--volume={}:/etc/carapulse:ro", self.volume("etc")));
        run.arg(format!("--volume={}:/var/lib/carapulse", self.volume(role)));
        capture(run.arg(tag(role))).map(drop)
    }

    /// The image's own HEALTHCHECK passes, and that of another role does not.
    fn healthy(&self, image: &Image) -> Result<()> {
        let container = self.container(&image.name);
        self.until("healthy", &image.name, || self.engine.is_healthy(&container))?;
        let other = if image.name == "agent" { "sandbox" } else { "agent" };
        let mut ask = self.engine.command(&["exec", &container]);
        if quiet(ask.args(["/usr/local/bin/carapulse", "healthcheck", "--role", other])) {
            bail!("its health check also passes for {other}, which does not run there");
        }
        Ok(())
    }

    /// The process is who it should be and can do nothing more; root's files are out of its reach.
    fn confined(&self, image: &Image) -> Result<()> {
        let container = self.container(&image.name);
        let mut look = self.engine.command(&["exec", &container]);
        let status = capture(look.args(["cat", "/proc/1/status"]))?;
        for (key, wanted) in [
            ("Uid", "10001 10001 10001 10001"),
            ("CapEff", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("NoNewPrivs", "1"),
        ] {
            let found = status_line(&status, key);
            if found.as_deref() != Some(wanted) {
                bail!("its process has {key} {found:?}, expected {wanted}");
            }
        }
        let mut write = self.engine.command(&["exec", "--user=0:0", &container]);
        if quiet(write.args(["touch", "/usr/local/bin/written"])) {
            bail!("its root can be written");
        }
        if image.tools {
            let mut git = self.engine.command(&["exec", &container]);
            capture(git.args(["git", "--version"])).context("git")?;
        }
        Ok(())
    }

    /// SIGTERM ends it in order and in time.
    fn stops(&self, image: &Image) -> Result<()> {
        let container = self.container(&image.name);
        capture(&mut self.engine.command(&["stop", "--time=30", &container]))?;
        let ask = ["inspect", "--format", "{{.State.ExitCode}}", &container];
        let code = capture(&mut self.engine.command(&ask))?;
        match code.trim() {
            "0" => Ok(()),
            code => bail!(
                "it ended with {code} when it was told to stop\n{}",
                self.log(&image.name)
            ),
        }
    }

    fn until(&self, what: &str, role: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !holds()? {
            if started.elapsed() > DEADLINE {
                bail!("not {what} after {DEADLINE:?}; its log:\n{}", self.log(role));
            }
            thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn log(&self, role: &str) -> String {
        let mut command = self.engine.command(&["logs", &self.container(role)]);
        let output = command.output();
        output.map_or_else(
            |error| error.to_string(),
            |output| last_lines(&crate::report::both_streams(&output), 20),
        )
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let names = |what: &str, template: &str| {
            let filter = format!("name={}", self.name);
            let mut list = self
                .engine
                .command(&[what, "ls", "--filter", &filter, "--format", template]);
            if what == "container" {
                list.arg("--all");
            }
            capture(&mut list).unwrap_or_else(|error| {
                say(&format!("cannot list what is to be removed: {error:#}"));
                String::new()
            })
        };
        for (what, template) in [
            ("container", "{{.Names}}"),
            ("volume", "{{.Name}}"),
            ("network", "{{.Name}}"),
        ] {
            for name in names(what, template).lines() {
                if !quiet(&mut self.engine.command(&[what, "rm", "--force", name])) {
                    say(&format!("cannot remove the {what} {name}"));
                }
            }
        }
    }
}

/// The value of `Uid: 10001 10001 10001 10001`, whatever lies between the numbers.
fn status_line(status: &str, key: &str) -> Option<String> {
    let line = status.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        (name == key).then_some(rest)
    })?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_process_status_is_read_by_its_whole_name() {
        let status = "Name:\tcarapulse\nUid:\t10001\t10001\t0\t10001\nCapEff:\t0000000000000000\n";
        assert_eq!(status_line(status, "Uid").as_deref(), Some("10001 10001 0 10001"));
        assert_eq!(status_line(status, "CapEff").as_deref(), Some("0000000000000000"));
        assert_eq!(status_line(status, "Cap"), None);
    }
}
