//! `[gateway]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::domain::SecretRef;

/// The HTTP surface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Where it listens.
    pub http_addr: ListenAddr,
    /// The Ed25519 key that signs approvals. Default: `approval_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_key: Option<SecretRef>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8080),
            approval_key: None,
        }
    }
}

impl Section for Gateway {
    const NAME: &'static str = "gateway";
}
