//! `[orchestrator]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenAddr, Section};
use crate::{domain::SecretRef, plan::Timing};

/// Investigations, executions, background work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Orchestrator {
    /// Where it answers health and metrics.
    pub health_addr: ListenAddr,
    /// The Ed25519 key that signs checkpoints of the audit log. Default: `checkpoint_key` among the data folder's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_key: Option<SecretRef>,
    /// How long a lease lasts without renewal, in seconds: after a crash, work goes on this much later.
    pub lease_secs: i64,
    /// Executions driven at once.
    pub concurrency: usize,
    /// Pause between two looks for work, in milliseconds.
    pub poll_interval_ms: u64,
    /// How success of automatic plans is measured: when, how long, how often.
    pub verification: Timing,
    /// Pause between two looks for what has expired, in seconds.
    pub expiry_interval_secs: u64,
}

impl Default for Orchestrator {
    fn default() -> Self {
        Self {
            health_addr: ListenAddr::port(8085),
            checkpoint_key: None,
            lease_secs: 5,
            concurrency: 16,
            poll_interval_ms: 100,
            verification: Timing::default(),
            expiry_interval_secs: 5,
        }
    }
}

impl Section for Orchestrator {
    const NAME: &'static str = "orchestrator";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if !(2..=300).contains(&self.lease_secs) {
            return Err(("lease_secs", format!("{}: expected 2 to 300", self.lease_secs)));
        }
        if self.concurrency == 0 {
            return Err(("concurrency", "0: expected at least 1".to_owned()));
        }
        if !(10..=60_000).contains(&self.poll_interval_ms) {
            return Err((
                "poll_interval_ms",
                format!("{}: expected 10 to 60000", self.poll_interval_ms),
            ));
        }
        if self.expiry_interval_secs == 0 {
            return Err(("expiry_interval_secs", "0: expected at least 1".to_owned()));
        }
        Ok(())
    }
}
