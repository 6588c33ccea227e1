//! `cargo xtask kube`: a real Kubernetes API with simulated nodes, for the end-to-end tests and for people.
//!
//! `up DIR` starts one and leaves it running, `down DIR` ends it, `run -- CMD` keeps one for as long as CMD runs.
//! Deployments roll out, `rollout undo`, scale, drain, jobs work; containers never run (no logs, no exec). Images
//! whose name contains `broken` or `oom` fail as `tests/fixtures/kube/broken-pods.yaml` says.

mod cluster;
mod credentials;
mod interrupt;
mod processes;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::cli::KubeCommand;
use crate::report::{say, step};
use cluster::Programs;
use interrupt::Interrupt;
use processes::Processes;

/// Runs `xtask kube …`.
pub fn run(command: &KubeCommand) -> Result<()> {
    match command {
        KubeCommand::Up { folder, port } => up(folder, *port),
        KubeCommand::Down { folder } => down(folder),
        KubeCommand::Run { command } => run_command(command),
    }
}

/// Keeps a cluster of its own for as long as `work` runs. It is always torn down; its logs stay when `work` fails.
pub fn with_cluster(work: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
    let programs = Programs::fetch()?;
    let run = RunFolder(env::temp_dir().join(format!("carapulse-kube-{}", process::id())));
    let interrupt = Interrupt::install()?;
    let kubeconfig = step("starting a cluster", || {
        cluster::start(&programs, &run.0, None, &interrupt)
    })?;
    let result = work(&Session {
        kubeconfig,
        kubectl: programs.kubectl,
        interrupt,
    });
    Processes::of(&run.0).stop()?;
    match &result {
        Ok(()) => fs::remove_dir_all(&run.0)?,
        Err(_) => {
            cluster::clear(&run.0)?;
            say(&format!(
                "the cluster's logs are kept in {}",
                run.0.join("logs").display()
            ));
        }
    }
    result
}

/// A cluster that is up.
pub struct Session {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    interrupt: Interrupt,
}

impl Session {
    /// An admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// That kubectl, as that admin.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .stdin(process::Stdio::null());
        command
    }

    /// Starts a command that knows the cluster: `KUBECONFIG`, `CARAPULSE_TEST_KUBECONFIG` and
    /// `CARAPULSE_TEST_KUBECTL` are set, and that kubectl is the first on PATH.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.prepare(command)?;
        command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
    }

    /// What [`Self::spawn`] sets, on a command that the caller starts.
    pub fn prepare(&self, command: &mut Command) -> Result<()> {
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("CARAPULSE_TEST_KUBECONFIG", &self.kubeconfig)
            .env("CARAPULSE_TEST_KUBECTL", &self.kubectl)
            .env("PATH", path_with(&self.kubectl)?);
        Ok(())
    }

    /// Whether somebody wants this process to end.
    pub fn interrupted(&self) -> bool {
        self.interrupt.seen().is_some()
    }

    /// Waits for the command; a signal to this process goes on to it.
    pub fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let mut forwarded = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if let Some(signal) = self.interrupt.seen().filter(|_| !forwarded) {
                kill(Pid::from_raw(child.id().cast_signed()), signal)?;
                forwarded = true;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn run_command(words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("a command to run")?;
    with_cluster(|session| {
        let status = session.wait(&mut session.spawn(Command::new(program).args(arguments))?)?;
        if !status.success() {
            bail!("{} ended with {status}", program.to_string_lossy());
        }
        Ok(())
    })
}

fn up(folder: &Path, port: Option<u16>) -> Result<()> {
    let programs = Programs::fetch()?;
    let interrupt = Interrupt::install()?;
    let kubeconfig = step("starting a cluster", || {
        cluster::start(&programs, folder, port, &interrupt)
    })?;
    println!("export KUBECONFIG={}", kubeconfig.display());
    println!("# kubectl: {}", programs.kubectl.display());
    println!("# to end it: cargo xtask kube down {}", folder.display());
    Ok(())
}

/// Ends the cluster and removes what it left, but for its logs; a folder that is no cluster's is not touched.
fn down(folder: &Path) -> Result<()> {
    let stopped = Processes::of(folder).stop()?;
    if !folder.join("kubeconfig").is_file() {
        bail!("{} has no cluster", folder.display());
    }
    cluster::clear(folder)?;
    say(&format!(
        "{stopped} processes of {} ended; its logs stay",
        folder.display()
    ));
    Ok(())
}

fn path_with(kubectl: &Path) -> Result<OsString> {
    let folder = kubectl.parent().context("kubectl lies in a folder")?.to_owned();
    let rest = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(
        std::iter::once(folder).chain(env::split_paths(&rest)),
    )?)
}

/// Ends whatever still runs in the folder when it is dropped, so that no way out leaves servers behind.
struct RunFolder(PathBuf);

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = Processes::of(&self.0).stop() {
            say(&format!(
                "cannot end the cluster in {}: {error:#}",
                self.0.display()
            ));
        }
    }
}
