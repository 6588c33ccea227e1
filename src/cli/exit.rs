//! Exit codes: what a script may tell apart.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for a reason without a code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// No token, or not a good one.
    Auth = 4,
    /// Refused by policy, by role, or for want of an approval.
    Denied = 5,
    /// The thing named does not exist.
    NotFound = 6,
    /// The thing is not in a state that allows it.
    Conflict = 7,
    /// A server or the database cannot be reached.
    Unavailable = 8,
    /// An execution ended without success.
    ExecutionFailed = 9,
    /// An execution waits for a person.
    NeedsAttention = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code; it travels inside an `anyhow::Error`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// One line.
    pub message: String,
}

impl Failure {
    /// A failure as an `anyhow::Error`.
    pub fn of(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        let message = message.into();
        anyhow::Error::new(Self { exit, message })
    }
}

/// The code of any error: its own, or what its causes say.
#[must_use]
pub fn code(error: &anyhow::Error) -> Exit {
    use crate::{config, store};
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if cause.is::<config::Error>() || cause.is::<config::SecretError>() || cause.is::<config::KeyError>()
        {
            return Exit::Config;
        }
        match cause.downcast_ref::<store::Error>() {
            Some(store::Error::Unavailable(_)) => return Exit::Unavailable,
            Some(store::Error::NotFound) => return Exit::NotFound,
            Some(store::Error::Conflict { .. }) => return Exit::Conflict,
            _ => {}
        }
        if let Some(store::migrate::Error::Locked(_) | store::migrate::Error::WouldLose { .. }) =
            cause.downcast_ref()
        {
            return Exit::Conflict;
        }
    }
    Exit::Failed
}
