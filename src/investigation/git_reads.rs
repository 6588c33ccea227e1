//! The tool `git` as context's reader of repositories, and as planning's reader of the present state.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    context::{GitReadError, GitReader},
    domain::{GitPlace, OpCtx, TargetId, plan::Args},
    plan::PriorReader,
    tools::Client,
};

/// Reads a target through the tool-router.
#[derive(Debug, Clone)]
pub struct Reads {
    /// In whose name.
    pub ctx: OpCtx,
    /// The way there.
    pub client: Client,
    /// Which target repositories are read of.
    pub target_id: TargetId,
}

impl Reads {
    async fn git(&self, action: &str, args: Value) -> Result<String, GitReadError> {
        let args: Args = serde_json::from_value(args).map_err(|e| GitReadError(e.to_string()))?;
        let answer = self
            .client
            .read(&self.ctx, self.target_id, "git", action, &args)
            .await;
        answer
            .map(|answer| answer.text)
            .map_err(|error| GitReadError(error.to_string()))
    }
}

fn with_path(mut args: Value, path: &str) -> Value {
    if !path.is_empty() {
        args["path"] = json!(path);
    }
    args
}

#[async_trait]
impl GitReader for Reads {
    async fn log(&self, _: &GitPlace, max: u32) -> Result<String, GitReadError> {
        self.git("log", json!({ "limit": max })).await
    }

    async fn show(&self, place: &GitPlace, commit: &str) -> Result<String, GitReadError> {
        self.git("show", with_path(json!({ "commit": commit }), &place.path))
            .await
    }

    async fn list(&self, place: &GitPlace, rev: &str) -> Result<String, GitReadError> {
        self.git("ls", with_path(json!({ "revision": rev }), &place.path))
            .await
    }

    async fn file(&self, _: &GitPlace, rev: &str, path: &str) -> Result<String, GitReadError> {
        self.git("file", json!({ "revision": rev, "path": path })).await
    }
}

#[async_trait]
impl PriorReader for Reads {
    async fn read(
        &self,
        target_id: TargetId,
        tool: &str,
        action: &str,
        args: &Args,
    ) -> Result<Value, String> {
        let answer = self.client.read(&self.ctx, target_id, tool, action, args).await;
        answer
            .map(|answer| answer.value)
            .map_err(|error| error.to_string())
    }
}
