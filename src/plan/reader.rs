//! Reads that planning needs: the present state of what a step would change.

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{TargetId, plan::Args};

/// Runs read actions on a target. The tool-router does so behind this; tests answer by hand.
#[async_trait]
pub trait PriorReader: Send + Sync {
    /// The structured answer of one read, or one line that says why there is none.
    async fn read(&self, target_id: TargetId, tool: &str, action: &str, args: &Args)
    -> Result<Value, String>;
}

/// No reads at all: a plan that needs one is rejected.
#[derive(Debug, Clone, Copy)]
pub struct NoReader;

#[async_trait]
impl PriorReader for NoReader {
    async fn read(&self, _: TargetId, tool: &str, action: &str, _: &Args) -> Result<Value, String> {
        Err(format!("nobody is there to run {tool}.{action}"))
    }
}
