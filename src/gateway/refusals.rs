//! What the errors of each stage mean to a client.

use super::{
    Gateway,
    problem::{Kind, Problem},
};
use crate::{
    approval, audit,
    domain::{OpCtx, PlanId},
    execution, intake, notify, plan, policy, store,
};

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

impl From<plan::store::Error> for Problem {
    fn from(error: plan::store::Error) -> Self {
        use plan::store::Error;
        match error {
            Error::Store(error) => error.into(),
            Error::Audit(error) => error.into(),
            Error::Policy(policy::store::Error::Store(error)) => error.into(),
            Error::Transition { .. } => Self::new(Kind::Conflict, error.to_string()),
            error => Self::internal(&error),
        }
    }
}

impl From<notify::Error> for Problem {
    fn from(error: notify::Error) -> Self {
        match error {
            notify::Error::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

/// Records why an approval or a start was refused, in a transaction of its own, and answers the problem. What the database
/// itself could not do is no refusal.
pub(super) async fn refused(
    gateway: &Gateway,
    ctx: &OpCtx,
    action: &'static str,
    plan_id: PlanId,
    error: approval::Error,
) -> Problem {
    if error.code() != "unavailable" && !error.is_not_found() {
        let recorded = async {
            let mut tx = gateway.db.begin(&ctx.tenant).await?;
            approval::record_refusal(&mut tx, ctx, action, plan_id, &error).await?;
            Ok::<_, Problem>(tx.commit().await?)
        };
        if let Err(problem) = recorded.await {
            return problem;
        }
    }
    error.into()
}

impl From<approval::Error> for Problem {
    fn from(error: approval::Error) -> Self {
        use approval::Error;
        match error {
            Error::Refused(refused) => {
                let kind = match refused.code {
                    "digest_mismatch" => Kind::DigestMismatch,
                    "not_pending" | "plan_not_pending" | "not_approved" | "expired" | "empty_plan" => {
                        Kind::Conflict
                    }
                    _ => Kind::ApprovalRefused,
                };
                Self::new(kind, format!("{} ({})", refused.message, refused.code))
            }
            Error::Invalid(why) => {
                tracing::error!(%why, "a stored approval proves nothing");
                Self::new(
                    Kind::ApprovalRefused,
                    format!("the stored approval is not valid: {why}; ask for a new one"),
                )
            }
            Error::Statement(error) => {
                tracing::error!(%error, "the signature of a stored approval does not fit");
                Self::new(
                    Kind::ApprovalRefused,
                    "the stored approval is not signed by this installation; ask for a new one",
                )
            }
            Error::Plan(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Audit(error) => error.into(),
            Error::Notify(error) => error.into(),
            Error::Canonical(error) => Self::new(Kind::InvalidValue, error.to_string()),
        }
    }
}

impl From<execution::Error> for Problem {
    fn from(error: execution::Error) -> Self {
        use execution::Error;
        match error {
            Error::NotFound(id) => Self::not_found("execution", id),
            Error::Status { .. } | Error::NotExecutable(_) | Error::PlanChanged(_) | Error::LostLease => {
                Self::new(Kind::Conflict, error.to_string())
            }
            Error::Forbidden(why) => Self::new(Kind::ApprovalRefused, why),
            Error::NoSuchStep { .. } => {
                Self::new(Kind::InvalidValue, error.to_string()).at("/step", "no such step")
            }
            Error::Store(error) => error.into(),
            Error::Audit(error) => error.into(),
            Error::Notify(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}
