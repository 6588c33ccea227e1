//! `cargo xtask chart conform`: what the matrix renders to is valid for several versions of Kubernetes.
//!
//! kubeconform looks at every object with schemas that are made from Kubernetes' own description of its API. The Prometheus
//! operator's kinds are none of Kubernetes': they are passed over, by name.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::helm::Helm;
use super::{kube_schemas, matrix};
use crate::report::{capture, say};
use crate::tools;

/// The oldest that `Chart.yaml` allows, two between, and the one that the tests install on.
pub const VERSIONS: &[&str] = &["1.29.6", "1.31.14", "1.34.4", "1.37.2"];

const SKIPPED: &str = "ServiceMonitor,PrometheusRule";

/// Runs it for every version and entry.
pub fn run() -> Result<()> {
    let helm = Helm::find()?;
    let kubeconform = tools::ensure("kubeconform")?;
    let folder = std::env::temp_dir().join(format!("carapulse-conform-{}", std::process::id()));
    let entries = matrix::entries()?;
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let schemas = kube_schemas::ensure(version)?;
        fs::create_dir_all(&folder)?;
        for entry in &entries {
            fs::write(
                folder.join(format!("{}.yaml", entry.name)),
                helm.template(entry, version)?,
            )?;
        }
        let mut command = Command::new(&kubeconform);
        command
            .args(["-strict", "-summary", "-skip", SKIPPED, "-schema-location"])
            .arg(format!(
                "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
                schemas.display()
            ))
            .arg(&folder)
            .stdin(Stdio::null());
        match capture(&mut command) {
            Ok(summary) => say(&format!("chart: Kubernetes {version}: {}", summary.trim())),
            Err(error) => wrong.push(format!("Kubernetes {version}: {error:#}")),
        }
        fs::remove_dir_all(&folder).context("the rendered files")?;
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}
