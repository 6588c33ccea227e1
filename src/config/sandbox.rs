//! `[sandbox]`

use std::path::{Component, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::domain::SecretRef;

/// A sandbox in its own process or pod (role `sandbox`). It knows no database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Where it listens.
    pub http_addr: ListenAddr,
    /// The public key of the router whose jobs it takes: base64, or where that is. Default: `job_key.pub` among the
    /// data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_public_key: Option<String>,
    /// The X25519 key to which credentials are sealed. Default: `sealing_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SecretRef>,
    /// The Ed25519 key that signs its answers. Default: `sandbox_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SecretRef>,
    /// How jobs are confined.
    pub profile: SandboxProfile,
    /// Folders with further programs (absolute), looked at before the system's.
    pub tool_dirs: Vec<PathBuf>,
    /// Folders of this machine that jobs may see, and those below them: absolute, without `..`. Default: none.
    pub mounts: Vec<PathBuf>,
}

/// How jobs are confined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SandboxProfile {
    /// Namespaces where the kernel gives them; else refuse.
    #[default]
    Auto,
    /// Namespaces, Landlock, seccomp.
    Ns,
    /// The pod's own namespaces, Landlock, seccomp; one job a pod.
    Pod,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8091),
            router_public_key: None,
            sealing_key: None,
            signing_key: None,
            profile: SandboxProfile::Auto,
            tool_dirs: Vec::new(),
            mounts: Vec::new(),
        }
    }
}

impl Section for Sandbox {
    const NAME: &'static str = "sandbox";

    fn check(&self) -> Result<(), (&'static str, String)> {
        let plain = |path: &PathBuf| {
            path.is_absolute()
                && path.parent().is_some()
                && !path.components().any(|c| c == Component::ParentDir)
        };
        if let Some(path) = self.mounts.iter().find(|path| !plain(path)) {
            let problem = format!(
                "{}: expected an absolute folder other than /, without ..",
                path.display()
            );
            return Err(("mounts", problem));
        }
        check_tool_dirs(&self.tool_dirs)
    }
}

/// They become a `PATH` and mounts: nothing relative, nothing that splits one into two.
pub(super) fn check_tool_dirs(dirs: &[PathBuf]) -> Result<(), (&'static str, String)> {
    let sound = |dir: &&PathBuf| dir.is_absolute() && !dir.as_os_str().as_encoded_bytes().contains(&b':');
    match dirs.iter().find(|dir| !sound(dir)) {
        Some(dir) => Err((
            "tool_dirs",
            format!("`{}`: expected an absolute path without `:`", dir.display()),
        )),
        None => Ok(()),
    }
}
