//! `[notify]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;
use crate::domain::SecretRef;

/// Messages to people. With neither receiver they are kept and shown, and nobody is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// A URL that takes each message as a JSON POST; a reference, as such URLs often are secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<SecretRef>,
    /// A routing key of PagerDuty's Events API v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagerduty_routing_key: Option<SecretRef>,
}

impl Section for Notify {
    const NAME: &'static str = "notify";

    fn warnings(&self) -> Vec<String> {
        if self.webhook_url.is_none() && self.pagerduty_routing_key.is_none() {
            vec![
                "notify: no receiver is set, so nobody is called when an execution needs attention"
                    .to_owned(),
            ]
        } else {
            Vec::new()
        }
    }
}
