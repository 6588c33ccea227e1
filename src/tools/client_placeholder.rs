//! Stands in until the tool-router's client lands in the next merge; refuses everything.

use crate::domain::{
    OpCtx, TargetId,
    plan::Args,
    run::{ActRef, ActReport, ProbeReport},
};

/// The way to the tool-router.
#[derive(Debug, Clone)]
pub struct Client;

/// The tool-router is out of reach.
#[derive(Debug, thiserror::Error)]
#[error("there is no tool-router")]
pub struct NoRouter;

/// The answer to a read.
#[derive(Debug)]
pub struct ReadAnswer {
    /// Structured.
    pub value: serde_json::Value,
    /// As printed.
    pub text: String,
}

impl Client {
    /// Refuses.
    pub async fn act(&self, _: &ActRef) -> Result<ActReport, NoRouter> {
        Err(NoRouter)
    }
    /// Refuses.
    pub async fn probe(&self, _: &ActRef) -> Result<ProbeReport, NoRouter> {
        Err(NoRouter)
    }
    /// Refuses.
    pub async fn read(&self, _: &OpCtx, _: TargetId, _: &str, _: &str, _: &Args) -> Result<ReadAnswer, NoRouter> {
        Err(NoRouter)
    }
}
