//! Outgoing clients: the only place that opens connections to managed systems.
//!
//! In: addresses and [`SecretRef`](crate::domain::SecretRef)s of a registered target. Out: typed answers, or an [`Error`]
//! that says which system, and why. Always holds: a timeout on every call, a cap on every answer, no redirect to another
//! host, no link-local (metadata) address, no proxy from the environment, one retry and only when the connection itself
//! failed. These clients only read, or ask. Not here: writes (the tool-router runs those in the sandbox), and what answers mean.

#[cfg(test)]
pub(crate) mod answering;
mod grants;
mod http;
mod kubernetes;
mod prometheus;
mod secret;

pub use grants::{Grants, TenantGrants};
pub use http::{Http, HttpLimits};
pub use kubernetes::{Kubernetes, Listed, load_kubeconfig};
pub use prometheus::{Prometheus, Sample, Series, Values};

/// Why a managed system gave no usable answer. Never holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret reference that leads nowhere.
    #[error("secret {reference}: {reason}")]
    Secret {
        /// `env:NAME` or `file:PATH`.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address may not be called.
    #[error("address refused: {0}")]
    Address(String),
    /// Configuration of a connection that is refused, with the remedy.
    #[error("{0}")]
    Refused(String),
    /// No connection, broken connection.
    #[error("{system} is unreachable: {reason}")]
    Unreachable {
        /// `prometheus`, `kubernetes`.
        system: &'static str,
        /// The transport's words.
        reason: String,
    },
    /// No answer in time.
    #[error("{system} did not answer within {limit_secs} s")]
    Timeout {
        /// `prometheus`, `kubernetes`.
        system: &'static str,
        /// The limit.
        limit_secs: u64,
    },
    /// An answer that says no.
    #[error("{system} answered {status}: {message}")]
    Status {
        /// `prometheus`, `kubernetes`.
        system: &'static str,
        /// HTTP status.
        status: u16,
        /// The system's own words, at most 300 characters.
        message: String,
    },
    /// An answer that is too long.
    #[error("{system} answered more than {cap_bytes} bytes")]
    TooLong {
        /// `prometheus`, `kubernetes`.
        system: &'static str,
        /// The cap.
        cap_bytes: usize,
    },
    /// An answer that cannot be read.
    #[error("{system} answered something unreadable: {reason}")]
    Unreadable {
        /// `prometheus`, `kubernetes`.
        system: &'static str,
        /// Where it stops making sense.
        reason: String,
    },
}

/// The first `max` characters of `text`, for error messages that quote another system.
pub(crate) fn quoted(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}
