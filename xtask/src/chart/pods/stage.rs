//! Network, database and pods of one run, under a name of their own.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{self, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{line, manifest};
use crate::chart::configuration;
use crate::chart::helm::{Helm, KUBE_VERSION, objects, text};
use crate::chart::matrix::Entry;
use crate::images::{Dockerfile, Engine, postgres};
use crate::report::{both_streams, capture, last_lines, say};

/// Who has which address of the network's.
const HOSTS: [(&str, u8); 7] = [
    ("postgres", 10),
    ("carapulse-migration", 11),
    ("carapulse-sandbox", 12),
    ("carapulse-tool-router", 13),
    ("carapulse-orchestrator", 14),
    ("carapulse-gateway", 15),
    ("carapulse-test", 16),
];

/// The pod that refers to a Secret by itself, and that Secret.
const MIGRATION: &str = "carapulse-migration";

/// One run.
pub struct Stage {
    engine: Engine,
    name: String,
    folder: PathBuf,
    /// `10.89.7`
    network: String,
}

impl Stage {
    /// A network with a database in it; keys and a values file.
    pub fn new(tag: &str) -> Result<Self> {
        let engine = Engine::find()?;
        ensure!(engine.is_podman(), "podman is needed: Docker has no `kube play`");
        for role in super::ROLES {
            let image = format!("localhost/carapulse/{role}:{tag}");
            ensure!(
                engine.has_image(&image),
                "{image} is missing: `cargo xtask images build`"
            );
        }
        let name = format!("carapulse-pods-{}", process::id());
        let folder = env::temp_dir().join(&name);
        fs::create_dir_all(&folder)?;
        capture(&mut engine.command(&["network", "create", &name]))?;
        let mut stage = Self {
            engine,
            name,
            folder,
            network: String::new(),
        };
        let subnet = line(&mut stage.engine.command(&[
            "network",
            "inspect",
            "--format",
            "{{(index .Subnets 0).Subnet}}",
            &stage.name,
        ]))?;
        stage.network = subnet.rsplit_once('.').context("an IPv4 network")?.0.to_owned();
        let mut init = Command::new(configuration::program()?);
        capture(
            init.arg("init")
                .arg(stage.folder.join("init"))
                .args(["--for", "chart"]),
        )?;
        stage.database()?;
        Ok(stage)
    }

    /// What the chart renders, with the keys and the images of this machine.
    pub fn render(&self, tag: &str) -> Result<Vec<Value>> {
        let values = self.folder.join("values.yaml");
        let images = format!(
            "global: {{ image: {{ registry: localhost, tag: {tag}, pullPolicy: Never }} }}\n\
             gateway: {{ image: {{ repository: carapulse/gateway }} }}\n\
             toolRouter: {{ image: {{ repository: carapulse/tool-router }} }}\n\
             orchestrator: {{ image: {{ repository: carapulse/orchestrator }} }}\n\
             sandbox: {{ image: {{ repository: carapulse/sandbox }} }}\n",
        );
        fs::write(&values, images)?;
        let files = vec![values, self.folder.join("init/chart/values-secrets.yaml")];
        let entry = Entry {
            name: "pods".to_owned(),
            files,
        };
        objects(&Helm::find()?.template(&entry, KUBE_VERSION)?)
    }

    /// `podman kube play` of one workload's pod.
    pub fn play(&self, rendered: &[Value], workload: &Value) -> Result<()> {
        let name = text(workload, "metadata/name");
        let hosts: Vec<(String, String)> = HOSTS
            .iter()
            .map(|(host, last)| ((*host).to_owned(), format!("{}.{last}", self.network)))
            .collect();
        let pod = manifest::pod(rendered, workload, &hosts, &self.folder.join(name))?;
        let file = self.folder.join(format!("{name}.yaml"));
        fs::write(&file, serde_json::to_string_pretty(&pod)?)?;
        if name == MIGRATION {
            let secret = self.folder.join("secret.json");
            fs::write(&secret, manifest::secret(rendered, name)?.to_string())?;
            capture(self.engine.command(&["secret", "create", MIGRATION]).arg(&secret))?;
        }
        let mut play = self.engine.command(&[
            "kube",
            "play",
            "--network",
            &self.name,
            "--ip",
            &self.address(name)?,
        ]);
        capture(play.arg(&file)).map(drop)
    }

    /// The container has ended, and well.
    pub fn ends_well(&self, pod: &str, container: &str) -> Result<()> {
        let name = format!("{pod}-{container}");
        let code = line(&mut self.engine.command(&["wait", &name]))?;
        if code != "0" {
            bail!("{name} ended with {code}:\n{}", self.log_of(&name));
        }
        Ok(())
    }

    /// What a program in a role's container prints.
    pub fn exec(&self, role: &str, program: &[&str]) -> Result<String> {
        let container = format!("carapulse-{role}-{role}");
        capture(self.engine.command(&["exec", &container]).args(program))
    }

    /// Status and body of a GET.
    pub fn get(&self, role: &str, port: u16, path: &str, token: Option<&str>) -> Result<(u16, String)> {
        let address: SocketAddr =
            format!("{}:{port}", self.address(&format!("carapulse-{role}"))?).parse()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        let token = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {role}\r\nConnection: close\r\n{token}\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("no HTTP answer")?;
        Ok((
            status,
            answer
                .split_once("\r\n\r\n")
                .map(|(_, body)| body.to_owned())
                .unwrap_or_default(),
        ))
    }

    /// The end of a role's log.
    pub fn log(&self, role: &str) -> String {
        self.log_of(&format!("carapulse-{role}-{role}"))
    }

    fn database(&self) -> Result<()> {
        postgres::ensure(&self.engine, &Dockerfile::read()?)?;
        let secrets = self.folder.join("database/secrets");
        fs::create_dir_all(&secrets)?;
        let password = secrets.join("db_owner_password");
        fs::copy(self.folder.join("init/secrets/db_owner_password"), &password)?;
        chown(&password, Some(10001), Some(10001))?;
        let container = format!("{}-postgres", self.name);
        let mount = format!("{}:/etc/carapulse:ro", self.folder.join("database").display());
        let address = self.address("postgres")?;
        let run = [
            "run",
            "--detach",
            "--name",
            &container,
            "--network",
            &self.name,
            "--ip",
            &address,
            "--volume",
            &mount,
            postgres::IMAGE,
        ];
        capture(&mut self.engine.command(&run))?;
        let ready = "/usr/lib/postgresql/*/bin/pg_isready -q -h 127.0.0.1 -d carapulse";
        let deadline = Instant::now() + super::PATIENCE;
        while capture(&mut self.engine.command(&["exec", &container, "sh", "-c", ready])).is_err() {
            if Instant::now() > deadline {
                bail!("the database does not answer:\n{}", self.log_of(&container));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn address(&self, name: &str) -> Result<String> {
        let known = HOSTS.iter().find(|(host, _)| *host == name);
        let (_, last) = known.with_context(|| format!("{name} has no address"))?;
        Ok(format!("{}.{last}", self.network))
    }

    fn log_of(&self, container: &str) -> String {
        let output = self.engine.command(&["logs", container]).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| last_lines(&both_streams(&output), 20),
        )
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let remove = |arguments: &[&str]| {
            if let Err(error) = capture(&mut self.engine.command(arguments)) {
                say(&format!("{}: {error:#}", arguments.join(" ")));
            }
        };
        for (host, _) in HOSTS
            .iter()
            .filter(|(host, _)| self.folder.join(format!("{host}.yaml")).exists())
        {
            remove(&["pod", "rm", "--force", "--time=5", host]);
        }
        remove(&["rm", "--force", "--ignore", &format!("{}-postgres", self.name)]);
        if self.folder.join("secret.json").exists() {
            remove(&["secret", "rm", MIGRATION]);
        }
        remove(&["network", "rm", &self.name]);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            say(&format!("cannot remove {}: {error}", self.folder.display()));
        }
    }
}
