//! The two forms in which a message leaves: a plain JSON webhook, and PagerDuty's Events API v2.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::store::Pending;
use crate::domain::{NotificationId, TenantId};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// PagerDuty takes at most this many characters of a summary.
const MAX_SUMMARY_CHARS: usize = 1024;
/// PagerDuty takes at most this many characters of a key.
const MAX_DEDUP_CHARS: usize = 255;

/// Where messages go.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// A JSON POST: `{notification_id, tenant_id, kind, severity, subject, body, dedupe_key, created_at}`.
    Webhook {
        /// The whole address.
        url: Url,
        /// Sent as `Authorization: Bearer …`.
        token: Option<SecretString>,
    },
    /// PagerDuty Events API v2, always `trigger`.
    PagerDuty {
        /// `https://events.pagerduty.com/v2/enqueue`, or a test's own.
        url: Url,
        /// Names the service to page.
        routing_key: SecretString,
    },
}

/// The receiver did not take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For people; names no secret.
    pub message: String,
    /// Whether another attempt may help.
    pub retryable: bool,
}

impl Receiver {
    /// A client that follows no redirect and waits 10 s at most.
    ///
    /// # Errors
    /// [`Refusal`] when the TLS set-up of this machine makes no client.
    pub fn client() -> Result<Client, Refusal> {
        let built = Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build();
        built.map_err(|error| Refusal {
            message: error.without_url().to_string(),
            retryable: true,
        })
    }

    /// Whether it leads to the same place with the same credential.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let parts = |receiver: &Self| match receiver {
            Self::Webhook { url, token } => (
                url.clone(),
                token.as_ref().map(|token| token.expose_secret().to_owned()),
            ),
            Self::PagerDuty { url, routing_key } => {
                (url.clone(), Some(routing_key.expose_secret().to_owned()))
            }
        };
        parts(self) == parts(other)
    }

    /// Hands one message over.
    pub(super) async fn deliver(
        &self,
        client: &Client,
        tenant: &TenantId,
        id: NotificationId,
        message: &Pending,
    ) -> Result<(), Refusal> {
        let request = match self {
            Self::Webhook { url, token } => {
                let request = client.post(url.clone()).json(&webhook_form(tenant, id, message));
                match token {
                    Some(token) => request.bearer_auth(token.expose_secret()),
                    None => request,
                }
            }
            Self::PagerDuty { url, routing_key } => {
                client
                    .post(url.clone())
                    .json(&pagerduty_form(routing_key.expose_secret(), tenant, message))
            }
        };
        let sent = request.header("Idempotency-Key", id.to_string()).send().await;
        let status = match sent {
            Ok(answer) => answer.status(),
            Err(error) => {
                return Err(Refusal {
                    message: error.without_url().to_string(),
                    retryable: true,
                });
            }
        };
        if status.is_success() {
            return Ok(());
        }
        let retryable = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT
            );
        Err(Refusal {
            message: format!("the receiver answered {status}"),
            retryable,
        })
    }
}

fn webhook_form(tenant: &TenantId, id: NotificationId, message: &Pending) -> Value {
    json!({
        "notification_id": id,
        "tenant_id": tenant,
        "kind": message.kind,
        "severity": message.severity,
        "subject": message.subject,
        "body": body_of(message),
        "dedupe_key": message.dedupe_key,
        "created_at": message.created_at.to_rfc3339(),
    })
}

fn pagerduty_form(routing_key: &str, tenant: &TenantId, message: &Pending) -> Value {
    json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": dedup_key(tenant, &message.dedupe_key),
        "payload": {
            "summary": message.subject.chars().take(MAX_SUMMARY_CHARS).collect::<String>(),
            "severity": if message.severity == "page" { "critical" } else { "info" },
            "source": format!("carapulse/{tenant}"),
            "class": message.kind,
            "custom_details": body_of(message),
        },
    })
}

/// The key itself when it fits; else its digest, so that two long keys with one beginning stay two.
fn dedup_key(tenant: &TenantId, key: &str) -> String {
    let key = format!("{tenant}/{key}");
    if key.chars().count() <= MAX_DEDUP_CHARS {
        key
    } else {
        crate::domain::Digest::of_content(key.as_bytes()).to_string()
    }
}

fn body_of(message: &Pending) -> Value {
    serde_json::from_slice(&message.body).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(severity: &str, key: &str) -> Pending {
        Pending {
            kind: "escalation".to_owned(),
            severity: severity.to_owned(),
            subject: "é".repeat(2000),
            body: br#"{"incident":"i"}"#.to_vec(),
            dedupe_key: key.to_owned(),
            attempts: 0,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn pagerduty_form_keeps_to_its_limits() {
        let tenant: TenantId = "default".parse().unwrap();
        let form = pagerduty_form("R", &tenant, &message("page", "k"));
        assert_eq!(form["event_action"], "trigger");
        assert_eq!(form["routing_key"], "R");
        assert_eq!(form["dedup_key"], "default/k");
        assert_eq!(form["payload"]["severity"], "critical");
        assert_eq!(form["payload"]["source"], "carapulse/default");
        assert_eq!(form["payload"]["custom_details"]["incident"], "i");
        assert_eq!(
            form["payload"]["summary"].as_str().unwrap().chars().count(),
            MAX_SUMMARY_CHARS
        );
        let long = |end: &str| dedup_key(&tenant, &format!("{}{end}", "x".repeat(300)));
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() <= MAX_DEDUP_CHARS);
    }
}
