//! One Kubernetes cluster in one folder: real etcd, API server, controllers and scheduler; kwok plays the nodes.
//!
//! In: an empty or absent folder. Out: `DIR/kubeconfig` (admin, the server's own CA inside) of a cluster whose
//! nodes are Ready and whose default service account exists. Everything listens on 127.0.0.1.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::credentials;
use super::interrupt::Interrupt;
use super::processes::Processes;
use crate::report::capture;
use crate::tools;

const BROKEN_PODS: &str = include_str!("../../../tests/fixtures/kube/broken-pods.yaml");
const NODES: &str = include_str!("../../../tests/fixtures/kube/nodes.yaml");

/// For all of the start; an idle machine needs about ten seconds, a busy one much longer.
const DEADLINE: Duration = Duration::from_secs(180);

/// The programs of a cluster, fetched before anything is started.
pub struct Programs {
    etcd: PathBuf,
    apiserver: PathBuf,
    controllers: PathBuf,
    scheduler: PathBuf,
    kwok: PathBuf,
    stages: PathBuf,
    pub kubectl: PathBuf,
}

impl Programs {
    /// Fetches what is missing; the error names it and says why it cannot be had.
    pub fn fetch() -> Result<Self> {
        Ok(Self {
            etcd: tools::ensure("etcd")?,
            apiserver: tools::ensure("kube-apiserver")?,
            controllers: tools::ensure("kube-controller-manager")?,
            scheduler: tools::ensure("kube-scheduler")?,
            kwok: tools::ensure("kwok")?,
            stages: tools::ensure("kwok-stages.yaml")?,
            kubectl: tools::ensure("kubectl")?,
        })
    }
}

/// A cluster that is being started, or runs.
pub struct Cluster<'a> {
    programs: &'a Programs,
    folder: PathBuf,
    processes: Processes,
    ports: Ports,
    deadline: Instant,
    interrupt: &'a Interrupt,
}

/// Starts a cluster in `folder`. When it does not become ready, all its processes are ended again.
pub fn start(
    programs: &Programs,
    folder: &Path,
    port: Option<u16>,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = fs::canonicalize(folder)?;
    if fs::read_dir(&folder)?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name() != "logs")
    {
        bail!(
            "{} is not empty: give a new folder, or end what runs there by `kube down`",
            folder.display()
        );
    }
    let cluster = Cluster {
        programs,
        processes: Processes::of(&folder),
        ports: Ports::choose(port)?,
        deadline: Instant::now() + DEADLINE,
        interrupt,
        folder,
    };
    if let Err(error) = cluster.bring_up() {
        let tails = cluster.processes.log_tails();
        cluster.processes.stop()?;
        if interrupt.seen().is_some() {
            return Err(error);
        }
        bail!("the cluster did not start: {error:#}\nthe ends of its logs:\n{tails}");
    }
    Ok(cluster.path("kubeconfig"))
}

/// Removes what a cluster's start made in `folder`, but for its logs.
pub fn clear(folder: &Path) -> Result<()> {
    for name in [
        "etcd",
        "certs",
        "kubeconfig",
        "tokens.csv",
        "sa.key",
        "stages.yaml",
        "nodes.yaml",
    ] {
        let path = folder.join(name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

impl Cluster<'_> {
    fn bring_up(&self) -> Result<()> {
        credentials::make_key(&self.path("sa.key"))?;
        let token = credentials::random_token()?;
        credentials::write_private(
            &self.path("tokens.csv"),
            &format!("{token},admin,admin,system:masters\n"),
        )?;
        self.start_etcd()?;
        self.start_apiserver()?;
        self.wait_for("the API server's certificate", || self.write_kubeconfig(&token))?;
        self.wait_for("the API server to be ready", || {
            self.kubectl(&["get", "--raw", "/readyz"])
        })?;
        self.start_controllers()?;
        self.start_nodes()?;
        self.wait_for("the nodes to be Ready", || {
            self.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=1s"])
        })?;
        self.wait_for("the default service account", || {
            self.kubectl(&["get", "serviceaccount", "default"])
        })
    }

    fn start_etcd(&self) -> Result<()> {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        let mut command = Command::new(&self.programs.etcd);
        command.arg("--data-dir").arg(self.path("etcd"));
        command.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        // The data lives as long as the tests do: waiting for the disk buys nothing.
        command.args([
            "--initial-cluster",
            &format!("default={peer}"),
            "--unsafe-no-fsync",
        ]);
        self.processes.start("etcd", &mut command)
    }

    fn start_apiserver(&self) -> Result<()> {
        let mut command = Command::new(&self.programs.apiserver);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd))
            .arg(format!("--secure-port={}", self.ports.api))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ])
            .args([
                "--cert-dir=certs",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
            ])
            .args([
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.0.0.0/24",
            ])
            .args([
                "--service-account-key-file=sa.key",
                "--service-account-signing-key-file=sa.key",
            ]);
        self.processes.start("kube-apiserver", &mut command)
    }

    fn start_controllers(&self) -> Result<()> {
        let mut command = Command::new(&self.programs.controllers);
        command.args([
            "--kubeconfig=kubeconfig",
            "--leader-elect=false",
            "--secure-port=0",
        ]);
        command.arg("--service-account-private-key-file=sa.key");
        self.processes.start("kube-controller-manager", &mut command)?;
        let mut command = Command::new(&self.programs.scheduler);
        command.args([
            "--kubeconfig=kubeconfig",
            "--leader-elect=false",
            "--secure-port=0",
        ]);
        self.processes.start("kube-scheduler", &mut command)
    }

    fn start_nodes(&self) -> Result<()> {
        let stages = fs::read_to_string(&self.programs.stages)?;
        fs::write(
            self.path("stages.yaml"),
            format!("{}\n---\n{BROKEN_PODS}", stages.trim_end()),
        )?;
        let mut command = Command::new(&self.programs.kwok);
        command.args([
            "--kubeconfig=kubeconfig",
            "--manage-all-nodes=true",
            "--config=stages.yaml",
        ]);
        command
            .arg("--node-ip=127.0.0.1")
            // The heartbeat stage alone comes every ten minutes: without leases the nodes are lost within the first.
            .arg("--node-lease-duration-seconds=40")
            .arg(format!("--server-address=127.0.0.1:{}", self.ports.kwok));
        self.processes.start("kwok", &mut command)?;
        fs::write(self.path("nodes.yaml"), NODES)?;
        self.kubectl(&["apply", "-f", "nodes.yaml"])
    }

    /// Asks until it answers; ends at once when a process has died, somebody interrupts, or time is up.
    fn wait_for(&self, what: &str, mut ask: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            let Err(error) = ask() else { return Ok(()) };
            self.processes.check()?;
            if self.interrupt.seen().is_some() {
                bail!("interrupted while waiting for {what}");
            }
            if Instant::now() > self.deadline {
                return Err(error.context(format!(
                    "gave up waiting for {what} after {} s",
                    DEADLINE.as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.programs.kubectl);
        command
            .current_dir(&self.folder)
            .args(["--kubeconfig", "kubeconfig", "--request-timeout=10s"]);
        capture(command.args(arguments).stdin(Stdio::null())).map(|_| ())
    }

    /// Fails until the API server has written its certificate.
    fn write_kubeconfig(&self, token: &str) -> Result<()> {
        let ca = credentials::ca(&fs::read_to_string(self.path("certs/apiserver.crt"))?)?;
        let text = credentials::kubeconfig(self.ports.api, &ca, token);
        credentials::write_private(&self.path("kubeconfig"), &text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct Ports {
    api: u16,
    etcd: u16,
    etcd_peer: u16,
    kwok: u16,
}

impl Ports {
    /// Free ports of 127.0.0.1. All are held while they are chosen, so that none comes twice.
    fn choose(api: Option<u16>) -> Result<Self> {
        let held: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)))
            .collect::<Result<_, _>>()?;
        let free: Vec<u16> = held
            .iter()
            .map(|l| l.local_addr().map(|a| a.port()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            api: api.unwrap_or(free[0]),
            etcd: free[1],
            etcd_peer: free[2],
            kwok: free[3],
        })
    }
}
