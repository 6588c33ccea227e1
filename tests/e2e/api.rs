//! A person, or a webhook source, at the HTTP API.

use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that does not say otherwise.
const LIMIT: Duration = Duration::from_secs(90);

/// One token's way in.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    pub(crate) token: String,
}

impl Api {
    pub(crate) fn new(http: &reqwest::Client, base: &str, token: String) -> Self {
        Self {
            http: http.clone(),
            base: base.to_owned(),
            token,
        }
    }

    /// The answer's status and body, whatever they are.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = request
            .bearer_auth(&self.token)
            .send()
            .await
            .expect("the gateway answers");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert!(
            (200..300).contains(&status),
            "POST {path} answered {status}: {answer:#}"
        );
        answer
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", self.base));
        let response = request
            .bearer_auth(&self.token)
            .send()
            .await
            .expect("the gateway answers");
        let status = response.status();
        let body = response.bytes().await.expect("a whole body").to_vec();
        assert!(
            status.is_success(),
            "GET {path} answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        body
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).await).expect("JSON")
    }

    /// Asks `path` until `wanted` finds what it looks for.
    pub(crate) async fn until<T>(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            let body = self.get(path).await;
            if let Some(found) = wanted(&body) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: not within {LIMIT:?}; {path} says {body:#}"
            );
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Waits for the end of an execution and answers its row.
    pub(crate) async fn ended(&self, execution: &str) -> Value {
        let open = ["pending", "running", "rolling_back"];
        self.until(
            "the execution ends",
            &format!("/v1/executions/{execution}"),
            |row| (!open.contains(&text(row, "/status").as_str())).then(|| row.clone()),
        )
        .await
    }
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
