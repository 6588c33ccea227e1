//! What can go wrong with the database, in the words that callers act on.

use sqlx::error::ErrorKind;

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached or takes no work now. Trying again later may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A unique, foreign-key or exclusion constraint refused the change; or, for `job_lease`, the lease is no longer ours.
    #[error("conflicts with what is stored ({constraint})")]
    Conflict {
        /// Name of the constraint or index.
        constraint: String,
    },
    /// The row asked for does not exist, or not for this tenant.
    #[error("not found")]
    NotFound,
    /// What is stored is not what was written: a digest, a length or an encoding is wrong.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// Everything else the database said.
    #[error("database error: {0}")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same call may succeed when it is made again in a new transaction.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                // serialization failure, deadlock, lock timeout
                matches!(error.code().as_deref(), Some("40001" | "40P01" | "55P03"))
            }
            _ => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as Sql;
        match error {
            Sql::RowNotFound => Self::NotFound,
            Sql::Io(_)
            | Sql::Tls(_)
            | Sql::PoolTimedOut
            | Sql::PoolClosed
            | Sql::WorkerCrashed
            | Sql::Protocol(_) => Self::Unavailable(error.to_string()),
            Sql::ColumnDecode { .. } | Sql::Decode(_) => Self::Corrupt(error.to_string()),
            Sql::Database(ref database) => {
                let code = database.code().unwrap_or_default().into_owned();
                let refused = matches!(
                    database.kind(),
                    ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation
                ) || code == "23P01";
                if refused {
                    let constraint = database.constraint().unwrap_or_default().to_owned();
                    return Self::Conflict { constraint };
                }
                // connection exceptions, a login that is being rotated, too many connections, operator intervention
                // (shutdown, start-up, crash)
                if code.starts_with("08")
                    || code.starts_with("28")
                    || code == "53300"
                    || (code.starts_with("57P") && code != "57P05")
                {
                    return Self::Unavailable(database.message().to_owned());
                }
                Self::Database(error)
            }
            other => Self::Database(other),
        }
    }
}
