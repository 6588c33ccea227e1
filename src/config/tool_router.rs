//! `[tool_router]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::domain::SecretRef;

/// Carrying out actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolRouter {
    /// Where it listens.
    pub http_addr: ListenAddr,
    /// Where other roles find it. Not set: in their own process when it runs there, else on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<url::Url>,
    /// What other roles show it. Default: `router_token` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<SecretRef>,
    /// Public keys of which one signed an approval: base64, or where that is. Default: `approval_key.pub` among the
    /// data folder's secrets.
    pub approval_public_keys: Vec<String>,
    /// The Ed25519 key that signs jobs for a remote sandbox. Default: `job_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_key: Option<SecretRef>,
    /// A folder with definitions of further tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_dir: Option<std::path::PathBuf>,
    /// Where actions run.
    pub sandbox: SandboxChoice,
    /// Folders with further programs (absolute), looked at before the system's; for a local sandbox.
    pub tool_dirs: Vec<std::path::PathBuf>,
    /// What one action may use.
    pub limits: SandboxLimits,
}

/// Where actions run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SandboxChoice {
    /// In namespaces under the router itself.
    #[default]
    Local,
    /// In a process with role `sandbox`.
    Remote {
        /// Where it listens.
        url: url::Url,
        /// The public half of its sealing key: base64, or where that is.
        public_key: String,
        /// The public key that verifies its answers: base64, or where that is.
        signing_public_key: String,
    },
}

/// What one action may use at most; a tool's definition may ask for less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxLimits {
    /// Address space, in MiB.
    pub memory_mib: u64,
    /// Processor time, in seconds.
    pub cpu_secs: u64,
    /// Wall time, in seconds.
    pub wall_secs: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Output kept of one stream, in bytes.
    pub output_bytes: u64,
    /// Size of one written file, in MiB.
    pub file_mib: u64,
}

impl Default for ToolRouter {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8081),
            base_url: None,
            auth_token: None,
            approval_public_keys: Vec::new(),
            job_key: None,
            catalog_dir: None,
            sandbox: SandboxChoice::Local,
            tool_dirs: Vec::new(),
            limits: SandboxLimits::default(),
        }
    }
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpu_secs: 120,
            wall_secs: 600,
            processes: 256,
            output_bytes: 1_000_000,
            file_mib: 256,
        }
    }
}

impl Section for ToolRouter {
    const NAME: &'static str = "tool_router";

    fn check(&self) -> Result<(), (&'static str, String)> {
        let limits = &self.limits;
        let all = [
            limits.memory_mib,
            limits.cpu_secs,
            limits.wall_secs,
            limits.processes,
            limits.output_bytes,
            limits.file_mib,
        ];
        if all.contains(&0) {
            return Err(("limits", "a limit of 0: expected at least 1".to_owned()));
        }
        super::sandbox::check_tool_dirs(&self.tool_dirs)
    }
}
