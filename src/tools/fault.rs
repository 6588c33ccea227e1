//! Why a call to a tool came to nothing.

/// A call that came to nothing, and what is certain about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Fault {
    /// Short and stable.
    pub(crate) code: String,
    /// One redacted line for people.
    pub(crate) message: String,
    /// How certain.
    pub(crate) kind: FaultKind,
}

/// What is certain about a call that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Nothing was done, and the same call will be refused again.
    Refused,
    /// The tool said no.
    Failed,
    /// Nothing was done, and another attempt may help.
    Unavailable,
    /// Something may have been done.
    Unclear,
}

impl Fault {
    pub(crate) fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            kind: FaultKind::Refused,
        }
    }

    pub(crate) fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            kind: FaultKind::Failed,
        }
    }

    pub(crate) fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            kind: FaultKind::Unavailable,
        }
    }

    pub(crate) fn unclear(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            kind: FaultKind::Unclear,
        }
    }
}

impl From<crate::store::Error> for Fault {
    fn from(error: crate::store::Error) -> Self {
        Self::unavailable("store", error.to_string())
    }
}
