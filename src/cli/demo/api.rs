//! The demo as a client of the HTTP API: what anybody could send.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::Instant;

/// Pause between two questions to the API.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// One person's, or one source's, way in.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    pub(super) fn new(http: &reqwest::Client, base: &str, token: &str) -> Self {
        Self {
            http: http.clone(),
            base: base.to_owned(),
            token: token.to_owned(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        answer(path, request).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        answer(
            path,
            self.http
                .post(format!("{}{path}", self.base))
                .bearer_auth(&self.token)
                .json(body),
        )
        .await
    }

    /// The answer's status and body, whatever they are: for requests that should be refused.
    pub(super) async fn try_post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .json(body);
        let response = request.send().await?;
        Ok((
            response.status().as_u16(),
            response.json().await.unwrap_or_default(),
        ))
    }

    pub(super) async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        let response = request.send().await.with_context(|| format!("asking {path}"))?;
        let status = response.status();
        let bytes = response.bytes().await?.to_vec();
        if !status.is_success() {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(bytes)
    }

    /// Asks `path` until `wanted` finds what it looks for, within `limit`.
    pub(super) async fn until<T>(
        &self,
        path: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let body = self.get(path).await?;
            if let Some(found) = wanted(&body) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{path} did not come to what was expected within {limit:?}; it says {body}");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

async fn answer(path: &str, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await.with_context(|| format!("asking {path}"))?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{path} answered {status}: {text}");
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{path} answered something that is no JSON"))
}

/// The text at a JSON pointer, or nothing.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
