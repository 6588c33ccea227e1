//! Whether a role can do its work: its checks, asked side by side, each with a time limit.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use serde::Serialize;

use super::Lifecycle;
use crate::store::Db;

type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of one role. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    lifecycle: Lifecycle,
    checks: Vec<(&'static str, Ask)>,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// `ok`, `unavailable` or `draining`.
    pub status: &'static str,
    /// Each check by name.
    pub checks: BTreeMap<&'static str, CheckReport>,
}

/// One check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// `ok` or `failed`.
    pub status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Health {
    /// No checks: ready until the process drains.
    #[must_use]
    pub fn new(lifecycle: &Lifecycle) -> Self {
        Self {
            lifecycle: lifecycle.clone(),
            checks: Vec::new(),
        }
    }

    /// With one check more.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || check().boxed())));
        self
    }

    /// With the check that a database answers.
    #[must_use]
    pub fn with_database(self, db: &Db) -> Self {
        let db = db.clone();
        self.with("database", move || {
            let db = db.clone();
            async move { db.ping().await.map_err(|error| error.to_string()) }
        })
    }

    /// Asks every check.
    pub async fn report(&self) -> HealthReport {
        let answers = self.checks.iter().map(|(name, ask)| async move {
            let answer = tokio::time::timeout(WITHIN, ask()).await;
            (
                *name,
                answer.unwrap_or_else(|_| Err(format!("no answer within {WITHIN:?}"))),
            )
        });
        let mut checks = BTreeMap::new();
        for (name, answer) in futures::future::join_all(answers).await {
            let status = if answer.is_ok() { "ok" } else { "failed" };
            checks.insert(
                name,
                CheckReport {
                    status,
                    message: answer.err(),
                },
            );
        }
        let status = if self.lifecycle.is_draining() {
            "draining"
        } else if checks.values().all(|check| check.status == "ok") {
            "ok"
        } else {
            "unavailable"
        };
        HealthReport { status, checks }
    }
}

impl HealthReport {
    /// Whether work may be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ok"
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.checks.iter().map(|(name, _)| name))
            .finish()
    }
}

const WITHIN: Duration = if cfg!(test) {
    Duration::from_millis(20)
} else {
    Duration::from_secs(2)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_or_silent_check_and_a_draining_process_are_not_ready() {
        let lifecycle = Lifecycle::new();
        let health = Health::new(&lifecycle).with("good", || async { Ok(()) });
        assert!(health.report().await.is_ready());
        let bad = health
            .clone()
            .with("silent", std::future::pending)
            .with("bad", || async { Err("no".to_owned()) });
        let report = bad.report().await;
        assert_eq!(report.status, "unavailable");
        assert_eq!(report.checks["bad"].message.as_deref(), Some("no"));
        assert_eq!(
            report.checks["silent"].message.as_deref(),
            Some("no answer within 20ms")
        );
        lifecycle.stop("test");
        assert_eq!(health.report().await.status, "draining");
    }
}
