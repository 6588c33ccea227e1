//! Where facts came from, how fresh they are, and what could not be had.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::text::clean;

/// How one source answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It answered; the answer may be empty.
    Available,
    /// It was asked and gave no usable answer.
    Unavailable,
    /// The target names no such source, so nobody asked.
    NotConfigured,
}

/// One source's part in a snapshot. A source that fails is recorded, never dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceStatus {
    /// `git.log`, `git.manifests`, `kubernetes.pods`, …, `prometheus.<query>`.
    pub name: String,
    /// How it answered.
    pub state: SourceState,
    /// When its answer was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_at: Option<DateTime<Utc>>,
    /// Why it is unavailable, or what is odd about its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether there was more than the caps let in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl SourceStatus {
    /// It answered.
    #[must_use]
    pub fn available(name: impl Into<String>, at: DateTime<Utc>, truncated: bool) -> Self {
        Self {
            name: name.into(),
            state: SourceState::Available,
            collected_at: Some(at),
            reason: None,
            truncated,
        }
    }

    /// It was asked and failed.
    #[must_use]
    pub fn unavailable(name: impl Into<String>, reason: &str) -> Self {
        Self {
            name: name.into(),
            state: SourceState::Unavailable,
            collected_at: None,
            reason: Some(clean(reason, 300)),
            truncated: false,
        }
    }

    /// Nobody asked.
    #[must_use]
    pub fn not_configured(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: SourceState::NotConfigured,
            collected_at: None,
            reason: None,
            truncated: false,
        }
    }

    /// The same with a remark.
    #[must_use]
    pub fn with_reason(self, reason: &str) -> Self {
        Self {
            reason: Some(clean(reason, 300)),
            ..self
        }
    }
}
