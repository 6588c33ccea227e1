//! `[brake]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;

/// How much may happen without a person asking for it. Targets start in mode `observe`, whatever is set here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Brake {
    /// Executions for one target and fingerprint in one window.
    pub max_executions: u32,
    /// The window, in seconds.
    pub window_secs: i64,
    /// After an execution without success, no plan is made for its target and fingerprint for this long, in seconds.
    pub hold_after_failure_secs: i64,
    /// Automatic plans of a tenant in one window, over all targets.
    pub max_automatic_plans: u32,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            max_executions: 3,
            window_secs: 3600,
            hold_after_failure_secs: 3600,
            max_automatic_plans: 30,
        }
    }
}

impl Section for Brake {
    const NAME: &'static str = "brake";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.window_secs < 1 {
            return Err((
                "window_secs",
                format!("{}: expected at least 1", self.window_secs),
            ));
        }
        if self.hold_after_failure_secs < 0 {
            return Err((
                "hold_after_failure_secs",
                "negative: expected at least 0".to_owned(),
            ));
        }
        Ok(())
    }
}
