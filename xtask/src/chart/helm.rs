//! Helm, run on the chart; what it renders, as objects.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::matrix::Entry;
use crate::report::{both_streams, capture};
use crate::{tools, workspace};

/// What is rendered without a cluster is rendered for this version.
pub const KUBE_VERSION: &str = "1.34.0";

/// The namespace of what is rendered without a cluster.
pub const NAMESPACE: &str = "carapulse-system";

/// The program, and the chart's folder.
pub struct Helm {
    program: PathBuf,
    chart: PathBuf,
}

impl Helm {
    /// Fetches the program when it is missing.
    pub fn find() -> Result<Self> {
        Ok(Self {
            program: tools::ensure("helm")?,
            chart: workspace::path("chart"),
        })
    }

    /// A command of helm, to be added to.
    pub fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.chart).args(verb).stdin(Stdio::null());
        command
    }

    /// What an entry of the matrix renders to, for one version of Kubernetes.
    pub fn template(&self, entry: &Entry, kube_version: &str) -> Result<String> {
        capture(&mut self.template_command(entry, kube_version)).with_context(|| entry.name.clone())
    }

    /// Why an entry is refused; an error when it is not.
    pub fn refusal(&self, entry: &Entry) -> Result<String> {
        let output = self.template_command(entry, KUBE_VERSION).output()?;
        if output.status.success() {
            bail!("{}: expected a refusal, and it renders", entry.name);
        }
        Ok(both_streams(&output))
    }

    fn template_command(&self, entry: &Entry, kube_version: &str) -> Command {
        let mut command = self.command(&["template", "carapulse", "."]);
        command
            .args(["--namespace", NAMESPACE, "--kube-version", kube_version])
            .args(entry.arguments());
        command
    }

    /// `helm lint --strict` with an entry's values.
    pub fn lint(&self, entry: &Entry) -> Result<()> {
        let mut command = self.command(&["lint", ".", "--strict", "--quiet"]);
        command
            .args(["--namespace", NAMESPACE, "--kube-version", KUBE_VERSION])
            .args(entry.arguments());
        capture(&mut command)
            .map(drop)
            .with_context(|| entry.name.clone())
    }
}

/// The objects of a rendered text.
pub fn objects(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("what helm rendered is no YAML")?;
    Ok(documents.into_iter().filter(Value::is_object).collect())
}

/// The text at a path such as `metadata/name`; empty when there is none.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(&format!("/{path}"))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The object of this kind and name.
pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| text(object, "kind") == kind && text(object, "metadata/name") == name)
        .with_context(|| format!("no {kind} {name} is rendered"))
}
