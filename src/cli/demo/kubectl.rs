//! The user's own kubectl, with the kubeconfig and context that they named.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// kubectl for one kubeconfig.
#[derive(Debug, Clone)]
pub(super) struct Kubectl {
    program: PathBuf,
    before: Vec<String>,
}

impl Kubectl {
    /// Finds kubectl on the `PATH`.
    pub(super) fn find(kubeconfig: &Path, context: Option<&str>) -> anyhow::Result<Self> {
        if !kubeconfig.is_file() {
            bail!("{} is no file", kubeconfig.display());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join("kubectl"))
            .find(|program| program.is_file())
            .context("`demo --kubeconfig` needs kubectl on the PATH: install it and try again")?;
        let mut before = vec![format!("--kubeconfig={}", kubeconfig.display())];
        before.extend(context.map(|name| format!("--context={name}")));
        Ok(Self {
            program: program.canonicalize()?,
            before,
        })
    }

    /// The same in one namespace.
    pub(super) fn in_namespace(mut self, namespace: &str) -> Self {
        self.before.push(format!("--namespace={namespace}"));
        self
    }

    /// Copies the program alone into a new folder: the sandbox shows its jobs that, and nothing that lies beside kubectl.
    pub(super) fn copy_to(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::copy(&self.program, dir.join("kubectl"))
            .with_context(|| format!("copying {}", self.program.display()))?;
        Ok(())
    }

    /// The cluster's entry of the kubeconfig, certificates inline.
    pub(super) fn server(&self) -> anyhow::Result<Value> {
        let config = self.json(&["config", "view", "--raw", "--minify", "--flatten"])?;
        let cluster = config.pointer("/clusters/0/cluster").cloned();
        cluster.context("the kubeconfig's context names no cluster")
    }

    /// Runs a command and answers its output.
    pub(super) fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.feed(args, "")
    }

    /// Runs a command that prints JSON.
    pub(super) fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[args, &["--output=json"]].concat())?;
        serde_json::from_str(&output).with_context(|| format!("kubectl {} printed no JSON", args.join(" ")))
    }

    /// Applies a manifest.
    pub(super) fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.feed(&["apply", "--filename=-"], manifest).map(drop)
    }

    fn feed(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Writes a file that only its owner reads.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
