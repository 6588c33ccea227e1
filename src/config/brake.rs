//! `[brake]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;
use crate::plan::BrakeLimits;

/// How much may happen without a person asking for it. Targets start in mode `observe`, whatever is set here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Brake {
    /// The window in which everything is counted, in seconds.
    pub window_secs: u32,
    /// Automatic plans for one target and one group of alerts.
    pub plans_per_group: u32,
    /// Automatic plans of a tenant, over all targets.
    pub plans_in_all: u32,
    /// Executions without success, after which nothing is planned automatically.
    pub failures_in_all: u32,
}

impl Default for Brake {
    fn default() -> Self {
        let limits = BrakeLimits::default();
        Self {
            window_secs: limits.window_secs,
            plans_per_group: limits.plans_per_group,
            plans_in_all: limits.plans_in_all,
            failures_in_all: limits.failures_in_all,
        }
    }
}

impl Brake {
    /// As planning wants them.
    #[must_use]
    pub const fn limits(&self) -> BrakeLimits {
        BrakeLimits {
            window_secs: self.window_secs,
            plans_per_group: self.plans_per_group,
            plans_in_all: self.plans_in_all,
            failures_in_all: self.failures_in_all,
        }
    }
}

impl Section for Brake {
    const NAME: &'static str = "brake";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.window_secs == 0 {
            return Err(("window_secs", "0: expected at least 1".to_owned()));
        }
        Ok(())
    }
}
