//! What the errors of each stage mean to a client.

use super::problem::{Kind, Problem};
use crate::{audit, intake, store};

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(cause) => {
                tracing::warn!(%cause, "the database is unavailable");
                Self::new(Kind::Unavailable, Kind::Unavailable.example())
            }
            store::Error::Conflict { constraint } => {
                let detail =
                    format!("somebody else changed it at the same moment ({constraint}); read it again");
                Self::new(Kind::Conflict, detail)
            }
            store::Error::NotFound => Self::new(Kind::NotFound, "no such resource in this tenant"),
            error if error.is_retryable() => {
                Self::new(Kind::Conflict, "it collided with another request; send it again")
            }
            error => Self::internal(&error),
        }
    }
}

impl From<audit::Error> for Problem {
    fn from(error: audit::Error) -> Self {
        match error {
            audit::Error::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<intake::Error> for Problem {
    fn from(error: intake::Error) -> Self {
        Self::new(Kind::Unavailable, error.to_string())
    }
}

impl From<intake::alertmanager::ParseError> for Problem {
    fn from(error: intake::alertmanager::ParseError) -> Self {
        use intake::alertmanager::ParseError;
        let kind = match error {
            ParseError::NotJson(_) => Kind::MalformedJson,
            ParseError::Shape(_) | ParseError::Version(_) | ParseError::TooMany(_) => Kind::InvalidDelivery,
        };
        Self::new(kind, error.to_string())
    }
}
