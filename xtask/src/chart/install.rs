//! `cargo xtask chart install`: the chart on a real API server, with the restricted Pod Security Standard enforced.
//!
//! Real: admission, garbage collection, controllers, scheduler, Helm, evictions, rights. Simulated: nodes and kubelets, so no
//! container runs, a Job's pod succeeds at once, and no network enforces a policy.

mod alone;
mod disruption;
mod lifecycle;
mod rights;
mod watch;

use std::env;
use std::fs;
use std::process::{self, Command};

use anyhow::Result;

use super::cluster::OnCluster;
use super::configuration;
use crate::kube;
use crate::report::{capture, step};

/// Runs every part on one cluster, each in a namespace of its own.
pub fn run() -> Result<()> {
    let program = configuration::program()?;
    let folder = env::temp_dir().join(format!("carapulse-chart-{}", process::id()));
    let result = kube::with_cluster(|session| {
        let on = OnCluster::new(session, folder.clone())?;
        let mut init = Command::new(&program);
        capture(init.arg("init").arg(folder.join("init")).args(["--for", "chart"]))?;
        step("first install, upgrade, rollback", || lifecycle::run(&on))?;
        step("rights of every account", || rights::run(&on))?;
        step("evictions", || disruption::run(&on))?;
        step("five releases", || alone::run(&on))
    });
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    result
}

impl OnCluster<'_> {
    /// A namespace that refuses every pod that the restricted standard does.
    fn namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name])?;
        let enforce = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", name, enforce]).map(drop)
    }

    /// The Secrets that `carapulse init --for chart` made.
    fn secrets(&self, namespace: &str) -> Result<()> {
        let file = self.folder.join("init/chart/secrets.yaml");
        self.kubectl(&[
            "apply",
            "--namespace",
            namespace,
            "--filename",
            &file.display().to_string(),
        ])
        .map(drop)
    }

    /// The values file that `carapulse init --for chart` made.
    fn secret_values(&self) -> String {
        self.folder
            .join("init/chart/values-secrets.yaml")
            .display()
            .to_string()
    }
}
