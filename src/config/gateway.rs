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
    /// Where the web pages are served, with health beside them and no API: `:8082` in the shipped deployments. Not set:
    /// nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canvas_addr: Option<ListenAddr>,
    /// The Ed25519 key that signs approvals. Default: `approval_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_key: Option<SecretRef>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8080),
            canvas_addr: None,
            approval_key: None,
        }
    }
}

impl Section for Gateway {
    const NAME: &'static str = "gateway";

    fn check(&self) -> Result<(), (&'static str, String)> {
        match self.canvas_addr {
            Some(canvas) if canvas == self.http_addr && canvas.socket().port() != 0 => Err((
                "canvas_addr",
                "expected another address than http_addr: pages and API are served apart".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}
