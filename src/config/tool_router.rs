//! `[tool_router]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::{domain::SecretRef, sandbox::HostPort};

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
    /// Where actions run.
    pub sandbox: SandboxChoice,
    /// Folders with further programs (absolute), looked at before the system's; for a local sandbox.
    pub tool_dirs: Vec<std::path::PathBuf>,
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
        /// The way out of its jobs. Without it, actions that need the network are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress: Option<Egress>,
    },
}

/// The proxy through which jobs of a remote sandbox reach what their target names, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// Where the router listens for it.
    pub listen_addr: ListenAddr,
    /// Under which `host:port` the sandbox finds it.
    pub advertised: String,
}

impl Default for ToolRouter {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8081),
            base_url: None,
            auth_token: None,
            approval_public_keys: Vec::new(),
            job_key: None,
            sandbox: SandboxChoice::Local,
            tool_dirs: Vec::new(),
        }
    }
}

impl Section for ToolRouter {
    const NAME: &'static str = "tool_router";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if let SandboxChoice::Remote {
            egress: Some(egress), ..
        } = &self.sandbox
            && egress.advertised.parse::<HostPort>().is_err()
        {
            let problem = format!("`{}`: expected HOST:PORT", egress.advertised);
            return Err(("sandbox.egress.advertised", problem));
        }
        super::sandbox::check_tool_dirs(&self.tool_dirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_a_remote_sandbox_has_a_host_and_a_port() {
        let with = |advertised: &str| -> ToolRouter {
            toml::from_str(&format!(
                "sandbox = {{ kind = \"remote\", url = \"http://sandbox:8091\", public_key = \"a\", signing_public_key = \"b\", \
                 egress = {{ listen_addr = \":8083\", advertised = \"{advertised}\" }} }}"
            ))
            .expect("TOML")
        };
        assert_eq!(with("tool-router:8083").check(), Ok(()));
        for wrong in ["tool-router", ":8083", "http://tool-router:8083", "tool-router:0"] {
            let (key, problem) = with(wrong).check().expect_err(wrong);
            assert_eq!(key, "sandbox.egress.advertised");
            assert!(problem.contains(wrong), "{problem}");
        }
    }
}
