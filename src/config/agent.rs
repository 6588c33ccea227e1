//! `[agent]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::domain::SecretRef;

/// The Slack surface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// Where it listens.
    pub http_addr: ListenAddr,
    /// Where the gateway is. Not set: on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_url: Option<url::Url>,
    /// The token that it shows the gateway. Needed for Slack commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_token: Option<SecretRef>,
    /// Slack's signing secret. Without it, Slack commands are not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_signing_secret: Option<SecretRef>,
    /// The target of plans whose command names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_target: Option<String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            http_addr: ListenAddr::port(8090),
            gateway_url: None,
            gateway_token: None,
            slack_signing_secret: None,
            default_target: None,
        }
    }
}

impl Section for Agent {
    const NAME: &'static str = "agent";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.slack_signing_secret.is_some() && self.gateway_token.is_none() {
            return Err((
                "gateway_token",
                "missing: expected a reference, as slack_signing_secret is set".to_owned(),
            ));
        }
        Ok(())
    }
}
