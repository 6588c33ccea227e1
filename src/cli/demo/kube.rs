//! The incident on a real cluster: a namespace of its own, a deployment, a roll-out to an image that does not exist.
//!
//! Carapulse gets two narrowly bound service accounts there, and never the kubeconfig that the demo was given.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{api::text, kubectl::Kubectl, screen::Screen};
use crate::domain::{OpCtx, TenantId};

/// An image that every cluster can pull and that does nothing.
const GOOD: &str = "registry.k8s.io/pause:3.10";
/// An image that no cluster can pull.
const BROKEN: &str = "registry.invalid/broken:1";
const REPLICAS: u32 = 3;
const CONTEXT: &str = "carapulse";
const ACCESS: &str = include_str!("kube_access.yaml");
/// How long a kubelet may take until it says that it cannot pull.
const PULL_FAILS_WITHIN: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A namespace of the cluster; deleted when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Cluster {
    kubectl: Kubectl,
    namespace: String,
    keep: bool,
    tool_dirs: Vec<PathBuf>,
    credentials: [String; 2],
}

impl Cluster {
    /// Makes the namespace with a healthy deployment and the two service accounts.
    pub(super) async fn set(
        kubeconfig: &Path,
        context: Option<&str>,
        keep: bool,
        dir: &Path,
        screen: &mut Screen,
    ) -> anyhow::Result<Self> {
        let kubectl = Kubectl::find(kubeconfig, context)?;
        let tools = dir.join("tools");
        kubectl.copy_to(&tools)?;
        let ctx = OpCtx::system("demo", "default".parse::<TenantId>()?);
        let unique = ctx.id::<uuid::Uuid>().simple().to_string();
        let namespace = format!("carapulse-demo-{}", &unique[24..]);
        kubectl
            .run(&["create", "namespace", &namespace])
            .context("the cluster does not give the demo a namespace")?;
        let mut cluster = Self {
            kubectl: kubectl.in_namespace(&namespace),
            namespace,
            keep,
            tool_dirs: vec![tools],
            credentials: Default::default(),
        };
        let server = cluster.kubectl.server()?;
        screen.event(format!(
            "cluster {}: namespace {}",
            text(&server, "/server"),
            cluster.namespace
        ));
        cluster
            .kubectl
            .apply(&ACCESS.replace("NAMESPACE", &cluster.namespace))
            .context("the demo needs the right to make roles and service accounts in its namespace")?;
        for (index, role) in ["reader", "writer"].into_iter().enumerate() {
            cluster.credentials[index] = cluster.credential(role, &server, dir)?;
        }
        screen.event("two service accounts: one reads, one changes deployments; neither sees secrets");
        cluster.deploy()?;
        screen.event(format!(
            "deployment/checkout: {REPLICAS} pods of {GOOD} available"
        ));
        Ok(cluster)
    }

    /// Rolls out the broken image, and waits until a pod says that it cannot be pulled.
    pub(super) async fn break_it(&self, screen: &mut Screen) -> anyhow::Result<()> {
        let image = format!("checkout={BROKEN}");
        self.kubectl
            .run(&["set", "image", "deployment/checkout", &image])?;
        let deadline = Instant::now() + PULL_FAILS_WITHIN;
        loop {
            let pods = self.kubectl.json(&["get", "pods"])?;
            if let Some(reason) = cannot_pull(&pods) {
                screen.event(format!("somebody rolls out {BROKEN}: {reason}"));
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("no pod says within {PULL_FAILS_WITHIN:?} that {BROKEN} cannot be pulled: {pods}");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn tool_dirs(&self) -> &[PathBuf] {
        &self.tool_dirs
    }

    /// The deployment in a sentence.
    pub(super) fn state(&self) -> anyhow::Result<String> {
        let deployment = self.kubectl.json(&["get", "deployment/checkout"])?;
        let count = |name: &str| {
            deployment
                .pointer(&format!("/status/{name}"))
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        Ok(format!(
            "checkout wants {}: {} of {REPLICAS} pods are of it, {} unavailable",
            text(&deployment, "/spec/template/spec/containers/0/image"),
            count("updatedReplicas"),
            count("unavailableReplicas"),
        ))
    }

    /// The revisions, oldest first.
    pub(super) fn history(&self) -> anyhow::Result<Vec<String>> {
        let sets = self.kubectl.json(&["get", "replicasets"])?;
        let items = sets
            .pointer("/items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let revision = |set: &Value| {
            text(set, "/metadata/annotations/deployment.kubernetes.io~1revision")
                .parse::<i64>()
                .unwrap_or(0)
        };
        let mut lines: Vec<_> = items
            .iter()
            .map(|set| {
                let image = text(set, "/spec/template/spec/containers/0/image");
                let pods = text(set, "/spec/replicas");
                (
                    revision(set),
                    format!("revision {}: {image}, {pods} pods", revision(set)),
                )
            })
            .collect();
        lines.sort();
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The target as an admin proposes it.
    pub(super) fn target(&self, mode: &str) -> Value {
        json!({
            "name": self.namespace,
            "mode": mode,
            "context": { "environment": "staging", "cluster_id": "demo", "namespace": self.namespace },
            "kubernetes": {
                "read_credential": self.credentials[0],
                "write_credential": self.credentials[1],
                "context": CONTEXT,
            },
            "services": { "checkout": "deployment/checkout" },
        })
    }

    /// What stays when everything is kept.
    pub(super) fn address(&self) -> String {
        format!(
            "cluster namespace {0}, which stays: kubectl delete namespace {0}",
            self.namespace
        )
    }

    fn deploy(&self) -> anyhow::Result<()> {
        let labels = json!({ "app": "checkout" });
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "checkout", "labels": labels },
            "spec": {
                "replicas": REPLICAS,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "checkout", "image": GOOD }] },
                },
            },
        });
        self.kubectl.apply(&manifest.to_string())?;
        let wait = ["rollout", "status", "--timeout=120s", "deployment/checkout"];
        self.kubectl
            .run(&wait)
            .with_context(|| format!("{GOOD} does not run on this cluster"))?;
        Ok(())
    }

    /// A kubeconfig of one service account, in a file that only we read. Answers the reference to it.
    fn credential(&self, role: &str, server: &Value, dir: &Path) -> anyhow::Result<String> {
        let account = format!("carapulse-{role}");
        let token = self
            .kubectl
            .run(&["create", "token", "--duration=1h", &account])?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{ "name": "demo", "cluster": server }],
            "users": [{ "name": account, "user": { "token": token.trim() } }],
            "contexts": [{ "name": CONTEXT, "context": { "cluster": "demo", "user": account } }],
        });
        let path = dir.join(format!("{account}.kubeconfig"));
        super::kubectl::write_private(&path, &config.to_string())?;
        Ok(format!("file:{}", path.display()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let deleted = self
            .kubectl
            .run(&["delete", "namespace", "--wait=false", &self.namespace]);
        if let Err(error) = deleted {
            tracing::error!(namespace = %self.namespace, %error, "the demo's namespace could not be deleted");
        }
    }
}

fn cannot_pull(pods: &Value) -> Option<String> {
    let items = pods.pointer("/items")?.as_array()?;
    let containers = items
        .iter()
        .filter_map(|pod| pod.pointer("/status/containerStatuses")?.as_array())
        .flatten();
    let mut reasons = containers.map(|container| text(container, "/state/waiting/reason"));
    reasons.find(|reason| ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"].contains(&reason.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pull_that_fails_counts() {
        let pods = |reason: &str| {
            let waiting = json!({ "state": { "waiting": { "reason": reason } } });
            json!({ "items": [{ "status": {} }, { "status": { "containerStatuses": [waiting] } }] })
        };
        assert_eq!(
            cannot_pull(&pods("ErrImagePull")).as_deref(),
            Some("ErrImagePull")
        );
        assert_eq!(cannot_pull(&pods("ContainerCreating")), None);
        assert_eq!(cannot_pull(&json!({ "items": [] })), None);
    }

    #[test]
    fn the_two_accounts_may_not_see_secrets_nor_leave_their_namespace() {
        assert!(!ACCESS.contains("resources: [secrets") && !ACCESS.contains("ClusterRole"));
        assert!(!ACCESS.contains('*'));
    }
}
