//! What an alert says, in our words. Every text here was written by strangers: it is a look-up key, never a value.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One alert, as diagnosis sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalFacts {
    /// Who sent it (`alertmanager`).
    pub source: String,
    /// Identity of the alert at its source.
    pub fingerprint: String,
    /// Name of the alerting rule.
    pub alertname: String,
    /// `critical`, `warning`, …; empty when the alert does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// The service that it names, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// All its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it began to fire.
    pub starts_at: DateTime<Utc>,
    /// When it ended; `None` while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
    /// Whether it fires.
    pub status: SignalStatus,
}

/// Whether an alert fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalStatus {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}
