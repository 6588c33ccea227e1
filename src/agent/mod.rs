//! Slack slash commands: a courier between a channel and the gateway's public HTTP API.
//!
//! In: `POST /slack/commands`, signed by Slack. Out: one line of text, always with status 200, because Slack shows nothing else.
//! Always holds: nothing is read from a body before its signature and time are checked; a body that was seen is not acted on again;
//! nothing is approved here.
//! Not here: health and metrics (every role has them), and whoever may do what (the gateway decides, by the token).

mod api;
mod command;
pub mod signature;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::domain::{Clock, Digest, Rotating};
use api::Api;

/// Largest body that Slack's slash commands need, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most bodies that are remembered against replay; they are forgotten when their time has passed.
const MAX_SEEN: usize = 10_000;

/// What the agent needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gateway's address.
    pub gateway_url: String,
    /// The token of a service that may ask for plans.
    pub token: Rotating<SecretString>,
    /// What Slack signs with.
    pub signing_secret: Rotating<SecretString>,
    /// The target of plans whose command names none.
    pub default_target: Option<String>,
}

#[derive(Clone)]
struct Agent(Arc<Parts>);

struct Parts {
    api: Api,
    settings: Settings,
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<Digest, DateTime<Utc>>>,
}

/// The routes of the role, besides health and metrics.
///
/// # Errors
/// When no HTTP client can be made.
pub fn routes(settings: Settings, clock: Arc<dyn Clock>) -> Result<Router, reqwest::Error> {
    let api = Api::new(&settings)?;
    let agent = Agent(Arc::new(Parts {
        api,
        settings,
        clock,
        seen: Mutex::default(),
    }));
    let routes = Router::new()
        .route("/slack/commands", post(commands))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    Ok(routes.with_state(agent))
}

async fn commands(State(agent): State<Agent>, headers: HeaderMap, body: Bytes) -> Response {
    let now = agent.0.clock.now();
    if let Err(refusal) = agent.check(&headers, &body, now) {
        metrics::counter!("carapulse_agent_refused_requests_total").increment(1);
        tracing::warn!(%refusal, "a Slack request was refused");
        return (StatusCode::UNAUTHORIZED, "unauthorized\n").into_response();
    }
    let digest = Digest::of_content(&body);
    if !agent.first_time(digest, now) {
        return (StatusCode::OK, "This command was taken already.").into_response();
    }
    let text = match command::parse(&body) {
        Ok(command) => agent.0.api.answer(&command, digest).await,
        Err(help) => help,
    };
    (StatusCode::OK, text).into_response()
}

impl Agent {
    /// Signed with the present secret, or shortly after a rotation with the one before it.
    fn check(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<(), signature::Refusal> {
        let secrets = self.0.settings.signing_secret.accepted();
        let mut checks = secrets
            .iter()
            .map(|secret| signature::check(secret, headers, body, now));
        let first = checks.next().unwrap_or(Err(signature::Refusal::Signature));
        if first.is_err() && checks.any(|check| check.is_ok()) {
            return Ok(());
        }
        first
    }

    /// Whether this body is new; it is remembered for as long as its signature would be good.
    fn first_time(&self, digest: Digest, now: DateTime<Utc>) -> bool {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SEEN {
            seen.retain(|_, at| (now - *at).num_seconds() <= 2 * signature::WINDOW_SECS);
        }
        // A full memory refuses: rather a command said twice by a person than one done twice by us.
        seen.len() < MAX_SEEN && seen.insert(digest, now).is_none()
    }
}
