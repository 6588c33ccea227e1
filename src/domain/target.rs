//! Where an action lands.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CanonicalError, Digest, SecretRef, TargetId, canonical};

/// The place of an action in the words of the managed systems. All fields but the tenant's come from a [`Target`] row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextRef {
    /// Tenant the place belongs to.
    pub tenant_id: String,
    /// `dev`, `staging`, `prod`, … A property of the target, never an input.
    pub environment: String,
    /// Kubernetes cluster, empty when the target has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// Kubernetes namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// AWS account.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub aws_account_id: String,
    /// Cloud region.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Argo CD project.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub argocd_project: String,
    /// Grafana organisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub grafana_org_id: String,
}

/// How far Carapulse may go on a target. Every target starts in `observe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetMode {
    /// Diagnose only.
    Observe,
    /// Draft plans and ask for approval; executing is refused.
    Propose,
    /// Execute approved plans.
    Act,
}

/// A registered place: the only way to name one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Id of the row.
    pub target_id: TargetId,
    /// Unique within the tenant: 1–63 of `a-z 0-9 -`.
    pub name: String,
    /// Raised by one with every confirmed change; pinned by plans.
    pub version: i64,
    /// Where it is.
    pub context: ContextRef,
    /// How far Carapulse may go here.
    pub mode: TargetMode,
    /// Raises every plan's tier.
    pub protected: bool,
    /// The GitOps repository that describes this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitPlace>,
    /// Address of the Prometheus that measures this place, `http(s)://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_url: Option<String>,
    /// How to reach the Kubernetes API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesPlace>,
    /// Names that alerts use for the services here, mapped to workloads (`checkout` → `deployment/checkout`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
}

impl Target {
    /// Digest of where actions on this target land: context, repository, cluster, Prometheus, with the credentials' references.
    pub fn place_digest(&self) -> Result<Digest, CanonicalError> {
        #[derive(Serialize)]
        struct Place<'a> {
            context: &'a ContextRef,
            #[serde(skip_serializing_if = "Option::is_none")]
            git: Option<&'a GitPlace>,
            #[serde(skip_serializing_if = "Option::is_none")]
            kubernetes: Option<&'a KubernetesPlace>,
            #[serde(skip_serializing_if = "Option::is_none")]
            prometheus_url: Option<&'a str>,
        }
        let place = Place {
            context: &self.context,
            git: self.git.as_ref(),
            kubernetes: self.kubernetes.as_ref(),
            prometheus_url: self.prometheus_url.as_deref(),
        };
        Ok(Digest::of("carapulse.place", 1, &canonical::to_bytes(&place)?))
    }
}

/// A git repository of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitPlace {
    /// `https://…`, or an absolute path on the tool-router's own machine.
    pub url: String,
    /// Branch that is deployed.
    pub branch: String,
    /// Folder of this place's manifests in the repository; empty for the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Password or token for reads over https, of a repository that not everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_credential: Option<SecretRef>,
    /// Password or token for writes over https. Reads, which nobody approves, never carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_credential: Option<SecretRef>,
    /// Certificates (PEM) of the authority that signed the server's, where the machine's own do not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<SecretRef>,
}

/// What targets of one tenant may name of the machines that act on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetGrant {
    /// Credentials and certificates: `file:PATH` for a file or all of a folder, `env:NAME`.
    pub secrets: Vec<SecretRef>,
    /// Folders in which local repositories may be.
    pub repositories: Vec<std::path::PathBuf>,
}

/// A Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesPlace {
    /// Kubeconfig for reads, by reference. `exec:` entries are refused.
    pub read_credential: SecretRef,
    /// Kubeconfig for writes, by reference; without it writes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_credential: Option<SecretRef>,
    /// Context in the kubeconfig that must be used.
    pub context: String,
}
