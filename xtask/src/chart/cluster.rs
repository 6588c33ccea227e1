//! Helm and kubectl on the cluster of a test, with what they say.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::helm::{Helm, text};
use crate::kube::Session;
use crate::report::{both_streams, capture};

/// A release is up, or an event is seen, within this; an idle machine needs a few seconds.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster, the two programs, and a folder for files.
pub struct OnCluster<'a> {
    session: &'a Session,
    helm: Helm,
    pub folder: PathBuf,
}

impl<'a> OnCluster<'a> {
    /// For one session; the folder is made.
    pub fn new(session: &'a Session, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self {
            session,
            helm: Helm::find()?,
            folder,
        })
    }

    /// What helm answers; an error quotes it.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        capture(&mut self.helm_command(arguments)?)
    }

    /// Why helm refuses; an error when it does not.
    pub fn helm_refusal(&self, arguments: &[&str]) -> Result<String> {
        refusal(self.helm_command(arguments)?.output()?, "helm", arguments)
    }

    /// What kubectl answers; an error quotes it.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        capture(&mut self.kubectl_command(arguments)?)
    }

    /// Why kubectl refuses; an error when it does not.
    pub fn kubectl_refusal(&self, arguments: &[&str]) -> Result<String> {
        refusal(self.kubectl_command(arguments)?.output()?, "kubectl", arguments)
    }

    /// A command of kubectl, to be started.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.session.kubectl();
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// The objects of a kind in a namespace.
    pub fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let answer = self.kubectl(&["get", kind, "--namespace", namespace, "--output=json"])?;
        let mut list: Value = serde_json::from_str(&answer)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("{kind}: no list"),
        }
    }

    /// One object.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&[
            "get",
            kind,
            name,
            "--namespace",
            namespace,
            "--output=json",
        ])?)?)
    }

    /// Applies manifests.
    pub fn apply(&self, name: &str, manifests: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, manifests)?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()])
            .map(drop)
    }

    /// Asks until the answer is yes.
    pub fn wait_for(&self, what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !ask().with_context(|| what.to_owned())? {
            if self.session.interrupted() {
                bail!("interrupted while waiting for {what}");
            }
            if Instant::now() > deadline {
                bail!("gave up waiting for {what} after {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The names of a kind in a namespace.
    pub fn names(&self, kind: &str, namespace: &str) -> Result<Vec<String>> {
        let objects = self.list(kind, namespace)?;
        Ok(objects
            .iter()
            .map(|object| text(object, "metadata/name").to_owned())
            .collect())
    }

    fn helm_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.helm.command(arguments);
        self.session.prepare(&mut command)?;
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(variable, self.folder.join(folder));
        }
        Ok(command)
    }
}

fn refusal(output: Output, program: &str, arguments: &[&str]) -> Result<String> {
    if output.status.success() {
        bail!("`{program} {}`: expected a refusal", arguments.join(" "));
    }
    Ok(both_streams(&output))
}
