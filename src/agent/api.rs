//! The gateway's public API, in the name of the agent's service token.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{Settings, command::Command};
use crate::domain::{Digest, Rotating};

/// Slack waits three seconds; what takes longer is said to be under way.
const TIMEOUT: Duration = Duration::from_millis(2500);

/// The gateway.
pub(super) struct Api {
    http: Client,
    url: String,
    token: Rotating<SecretString>,
    default_target: Option<String>,
}

impl Api {
    pub(super) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("carapulse-agent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            url: settings.gateway_url.trim_end_matches('/').to_owned(),
            token: settings.token.clone(),
            default_target: settings.default_target.clone(),
        })
    }

    /// Does what was asked and says what came of it. `digest` of the command makes it happen once.
    pub(super) async fn answer(&self, command: &Command, digest: Digest) -> String {
        match command {
            Command::Plan { target, intent } => {
                let Some(target) = target.as_ref().or(self.default_target.as_ref()) else {
                    return "Say where: `plan on:TARGET <what you want>`.".to_owned();
                };
                let body = json!({"target": target, "intent": intent});
                let request = self.http.post(format!("{}/v1/plans", self.url)).json(&body);
                match self
                    .send(request.header("Idempotency-Key", format!("slack-{}", digest.hex())))
                    .await
                {
                    Ok(answer) => planned(&answer),
                    Err(text) => text,
                }
            }
            Command::Status { path } => match self.send(self.http.get(format!("{}{path}", self.url))).await {
                Ok(answer) => status(&answer),
                Err(text) => text,
            },
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, String> {
        let response = self.authorized(request).await.map_err(|error| {
            tracing::warn!(error = %error.without_url(), "the gateway did not answer the agent");
            "The gateway did not answer in time; look with `status` or on the command line.".to_owned()
        })?;
        let ok = response.status().is_success();
        let body: Value = response.json().await.unwrap_or_default();
        if ok {
            Ok(body)
        } else {
            Err(format!("{}: {}", text(&body["title"]), text(&body["detail"])))
        }
    }
}

impl Api {
    /// With the present token; where the gateway refuses it, with the one that was rotated away: whoever rotates makes
    /// the new token first, or revokes the old one first.
    async fn authorized(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let mut last = None;
        for token in self.token.accepted() {
            let Some(request) = request.try_clone() else { break };
            let response = request.bearer_auth(token.expose_secret()).send().await?;
            if response.status() != reqwest::StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            last = Some(response);
        }
        match last {
            Some(refused) => Ok(refused),
            // A body that can be sent once only: none of ours.
            None => request.bearer_auth(self.token.get().expose_secret()).send().await,
        }
    }
}

fn planned(answer: &Value) -> String {
    let plan = &answer["plan"];
    let id = text(&answer["plan_id"]);
    match plan["status"].as_str() {
        Some("draft") => format!("Draft {id}: it lacks {}.", text(&plan["lacks"])),
        Some(status) => format!(
            "Plan {id} is {status} (risk {}). Look: `carapulse plan get {id}`.",
            text(&plan["risk_level"])
        ),
        None => format!("Plan {id}."),
    }
}

fn status(answer: &Value) -> String {
    let id = match answer["execution_id"].as_str() {
        Some(id) => id,
        None => answer["plan_id"].as_str().unwrap_or_default(),
    };
    let reason = answer["reason"]
        .as_str()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    format!("{id} is {}{}", text(&answer["status"]), escaped(&reason))
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Slack's three control characters, escaped; nothing that cannot be seen.
fn escaped(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
    shown
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_mentions_nobody() {
        let answer =
            json!({"plan_id": "plan_1", "plan": {"status": "draft", "lacks": "<!channel> & \u{7}more"}});
        assert_eq!(
            planned(&answer),
            "Draft plan_1: it lacks &lt;!channel&gt; &amp; more."
        );
        let answer = json!({"execution_id": "exec_1", "status": "failed", "reason": "exit_1"});
        assert_eq!(status(&answer), "exec_1 is failed (exit_1)");
    }
}
