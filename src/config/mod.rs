//! Configuration: one section a part, each in its own file.
//!
//! In: a TOML file, `CARAPULSE_*` variables (`__` between section and key), `--set section.key=value`; later ones win.
//! Out: [`Config::get`], one typed section at a time, so that only what a role needs must be right.
//! Always holds: an unknown section or key is refused; a secret is a reference (`env:NAME`, `file:PATH`), never a value,
//! so that a printed configuration holds none; an error names the source, the key and what is expected.
//! Not here: what the parts do with it.

mod address;
mod agent;
mod brake;
mod database;
mod error;
mod gateway;
mod keys;
mod load;
mod log;
mod notify;
mod objects;
mod orchestrator;
mod policy;
mod sandbox;
mod secret;
mod targets;
mod tool_router;

pub use address::ListenAddr;
pub use agent::Agent;
pub use brake::Brake;
pub use database::{Database, RoleLogin};
pub use error::Error;
pub use gateway::Gateway;
pub use keys::{KeyError, Secrets, decode_key, public_bytes, signing_key, verifying_key, verifying_keys};
pub use load::{Config, Sources, cache_dir};
pub use log::{Log, LogFormat};
pub use notify::Notify;
pub use objects::{Objects, S3Section};
pub use orchestrator::Orchestrator;
pub use policy::Policy;
pub use sandbox::{Sandbox, SandboxProfile};
pub use secret::{SecretError, resolve};
pub use targets::Targets;
pub use tool_router::{Egress, SandboxChoice, ToolRouter};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A part's settings.
pub trait Section: DeserializeOwned + Serialize + Default {
    /// Its table in the file.
    const NAME: &'static str;

    /// What the types cannot say. A message begins with the key within the section.
    ///
    /// # Errors
    /// `(key, what is expected)`.
    fn check(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// What is allowed but unwise, a line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The whole of it: what a file may hold, for the schema and for printing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Document {
    /// Folder of everything that this machine keeps: the embedded database, objects, keys; in a file, relative to that
    /// file's folder. Default: `/var/lib/carapulse` for root, else `~/.local/share/carapulse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<std::path::PathBuf>,
    /// What is logged, and how.
    pub log: Log,
    /// Where state is.
    pub database: Database,
    /// Where big bytes are.
    pub objects: Objects,
    /// The HTTP surface.
    pub gateway: Gateway,
    /// Carrying out actions.
    pub tool_router: ToolRouter,
    /// What targets may name of the machines that act on them.
    pub targets: Targets,
    /// Investigations, executions, background work.
    pub orchestrator: Orchestrator,
    /// The Slack surface.
    pub agent: Agent,
    /// A sandbox in its own pod.
    pub sandbox: Sandbox,
    /// Messages to people.
    pub notify: Notify,
    /// How much may happen on its own.
    pub brake: Brake,
    /// What watches policy's decisions.
    pub policy: Policy,
}
