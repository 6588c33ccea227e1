//! The demo's world: a SIMULATED metrics endpoint that speaks Prometheus' HTTP API. What it measures is derived from the
//! state of the story's repository, as if each commit were deployed the moment it is pushed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::story::{Revision, Story};
use crate::domain::{Clock, SystemClock};

const METRIC: &str = "http_requests_error_ratio";
const SERVICE: &str = "checkout";
/// Share of failing requests while the service works, and while it does not.
const RATIOS: [&str; 2] = ["0.004", "0.417"];
const MAX_POINTS: i64 = 11_000;

/// A world that runs until it is dropped.
#[derive(Debug)]
pub(super) struct World {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    facts: Arc<Facts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Facts {
    story: Story,
    /// Something else is broken, too: reverting the commit does not help.
    stays_broken: AtomicBool,
}

impl World {
    /// Starts the world on a free port of the loopback address.
    pub(super) async fn start(story: Story, stays_broken: bool) -> anyhow::Result<Self> {
        let facts = Arc::new(Facts {
            story,
            stays_broken: AtomicBool::new(stays_broken),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new()
            .route("/api/v1/query", post(query).get(query))
            .route("/api/v1/query_range", post(query_range).get(query_range))
            .with_state(facts.clone());
        #[expect(clippy::disallowed_methods, reason = "the demo's world is no part of a role")]
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the demo's world stopped");
            }
        });
        Ok(Self { url, facts, task })
    }

    /// Share of failing requests now.
    pub(super) fn error_ratio(&self) -> anyhow::Result<&'static str> {
        let revisions = self.facts.story.revisions()?;
        Ok(self.facts.ratio(&revisions, SystemClock.now().timestamp()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Facts {
    fn ratio(&self, revisions: &[Revision], at: i64) -> &'static str {
        let Some(deployed) = revisions.iter().position(|r| r.at.timestamp() <= at) else {
            return RATIOS[0];
        };
        let broken_before = revisions[deployed..].iter().any(|r| !r.works());
        let broken =
            !revisions[deployed].works() || (self.stays_broken.load(Ordering::Relaxed) && broken_before);
        RATIOS[usize::from(broken)]
    }
}

type Answer = (HeaderMap, Json<Value>);

async fn query(State(facts): State<Arc<Facts>>, raw: String) -> Answer {
    let form = form(&raw);
    let at = number(&form, "time").unwrap_or_else(|| SystemClock.now().timestamp());
    let revisions = revisions(&facts);
    let series =
        selected(&form).then(|| json!({"metric": labels(), "value": [at, facts.ratio(&revisions, at)]}));
    answer("vector", series.into_iter().collect())
}

async fn query_range(State(facts): State<Arc<Facts>>, raw: String) -> Answer {
    let form = form(&raw);
    let (start, end) = (
        number(&form, "start").unwrap_or(0),
        number(&form, "end").unwrap_or(0),
    );
    let step = number(&form, "step").unwrap_or(60).max(1);
    let points = ((end - start) / step).clamp(0, MAX_POINTS);
    let revisions = revisions(&facts);
    let at = |n: i64| start + n * step;
    let values: Vec<_> = (0..=points)
        .map(|n| json!([at(n), facts.ratio(&revisions, at(n))]))
        .collect();
    let series = selected(&form).then(|| json!({"metric": labels(), "values": values}));
    answer("matrix", series.into_iter().collect())
}

fn revisions(facts: &Facts) -> Vec<Revision> {
    facts.story.revisions().unwrap_or_else(|error| {
        tracing::warn!(%error, "the demo's repository cannot be read");
        Vec::new()
    })
}

fn selected(form: &BTreeMap<String, String>) -> bool {
    let expr = form.get("query").map(String::as_str).unwrap_or_default();
    let expr = expr.strip_prefix("max(").unwrap_or(expr);
    expr.starts_with(METRIC) && expr.contains(&format!("\"{SERVICE}\""))
}

fn labels() -> Value {
    json!({"__name__": METRIC, "service": SERVICE, "namespace": "shop"})
}

fn answer(kind: &str, result: Vec<Value>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-simulated", "carapulse demo".parse().expect("plain text"));
    (
        headers,
        Json(json!({"status": "success", "data": {"resultType": kind, "result": result}})),
    )
}

fn form(raw: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect()
}

fn number(form: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    let text = form.get(name)?;
    text.split('.').next()?.parse().ok()
}
