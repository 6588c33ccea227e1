//! Requests to the gateway, and what its problems mean for the exit code.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Common, output::printable, profile};
use crate::cli::{Exit, Failure};

/// A gateway, in somebody's name.
pub(super) struct Api {
    http: Client,
    url: String,
    token: SecretString,
}

impl Api {
    /// Takes the login of the profile; sends nothing yet.
    pub(super) fn connect(common: &Common) -> anyhow::Result<Self> {
        let login = profile::login(common)?;
        // No total timeout here: streams last as long as executions do.
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("carapulse/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            url: login.url,
            token: login.token,
        })
    }

    /// `GET`, as JSON.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.json(self.request(Method::GET, path).query(query).timeout(SHORT))
            .await
    }

    /// `POST`, as JSON.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(self.request(Method::POST, path).json(body).timeout(LONG))
            .await
    }

    /// `POST` that is done once, however often it is sent.
    pub(super) async fn post_once(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self
            .request(Method::POST, path)
            .header("Idempotency-Key", key)
            .json(body);
        self.json(request.timeout(LONG)).await
    }

    /// `GET`, as bytes.
    pub(super) async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let response = self
            .send(self.request(Method::GET, path).timeout(Duration::from_secs(600)))
            .await?;
        Ok(response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?
            .to_vec())
    }

    /// Opens a stream of server-sent events after `last_id`.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        last_id: Option<&str>,
    ) -> anyhow::Result<Response> {
        let mut request = self
            .request(Method::GET, path)
            .query(query)
            .header("Accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.token.expose_secret())
    }

    async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| self.unreachable(&error))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.json().await.unwrap_or(Value::Null);
        Err(failure(status, &body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let why = if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_connect() {
            "nothing answers there"
        } else {
            "the connection broke off"
        };
        Failure::of(
            Exit::Unavailable,
            format!("{}: {why}; is the gateway running, and is --url right?", self.url),
        )
    }
}

const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(120);

/// Whether asking again later may help.
pub(super) fn is_passing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Failure>()
        .is_some_and(|failure| failure.exit == Exit::Unavailable)
}

/// One line from a problem document, with the exit code that its kind has.
fn failure(status: StatusCode, body: &Value) -> anyhow::Error {
    let text = |key: &str| printable(body[key].as_str().unwrap_or_default());
    let code = text("type").rsplit(':').next().unwrap_or_default().to_owned();
    let exit = match (code.as_str(), status.as_u16()) {
        ("unknown_target", _) | (_, 404) => Exit::NotFound,
        (_, 401) => Exit::Auth,
        (_, 403) => Exit::Denied,
        (_, 409) => Exit::Conflict,
        (_, 502..=504) => Exit::Unavailable,
        _ => Exit::Failed,
    };
    if code.is_empty() {
        return Failure::of(
            exit,
            format!("the gateway answered {status} without saying why; is --url a gateway?"),
        );
    }
    let mut line = format!("{}: {}", text("title"), text("detail"));
    for error in body["errors"].as_array().into_iter().flatten().take(5) {
        let part = |key: &str| printable(error[key].as_str().unwrap_or_default());
        if !part("pointer").is_empty() && !line.contains(&part("pointer")) {
            line.push_str(&format!("; at {}", part("pointer")));
        }
    }
    line.push_str(&format!(" ({code}, request {})", text("request_id")));
    Failure::of(exit, line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_problem_has_its_exit_code_and_one_line() {
        let table = [
            (401, "unauthenticated", Exit::Auth),
            (403, "approval_refused", Exit::Denied),
            (404, "not_found", Exit::NotFound),
            (422, "unknown_target", Exit::NotFound),
            (409, "digest_mismatch", Exit::Conflict),
            (503, "unavailable", Exit::Unavailable),
            (422, "unknown_field", Exit::Failed),
        ];
        for (status, code, exit) in table {
            let body = json!({"type": format!("urn:carapulse:problem:{code}"), "title": "T", "detail": "do\nthis\u{1b}[31m",
                "request_id": "r1", "errors": [{"pointer": "/a", "detail": "x"}]});
            let error = failure(StatusCode::from_u16(status).expect("a status"), &body);
            assert_eq!(crate::cli::exit::code(&error), exit, "{code}");
            assert_eq!(
                error.to_string(),
                format!("T: do this[31m; at /a ({code}, request r1)")
            );
        }
    }
}
