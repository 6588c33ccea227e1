//! `[intake]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;

/// What webhooks may bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Intake {
    /// Size of one body, in bytes.
    pub max_body_bytes: usize,
    /// Alerts in one body.
    pub max_alerts: usize,
    /// How long requests are gathered into one statement, in milliseconds.
    pub batch_wait_ms: u64,
    /// Alerts in one statement.
    pub batch_alerts: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            max_body_bytes: 2 << 20,
            max_alerts: 2000,
            batch_wait_ms: 5,
            batch_alerts: 500,
        }
    }
}

impl Section for Intake {
    const NAME: &'static str = "intake";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.max_body_bytes < 1024 {
            return Err((
                "max_body_bytes",
                format!("{}: expected at least 1024", self.max_body_bytes),
            ));
        }
        if self.max_alerts == 0 || self.batch_alerts == 0 {
            return Err((
                "max_alerts",
                "0: expected at least 1, and so for batch_alerts".to_owned(),
            ));
        }
        if self.batch_wait_ms > 1000 {
            return Err((
                "batch_wait_ms",
                format!("{}: expected at most 1000", self.batch_wait_ms),
            ));
        }
        Ok(())
    }
}
