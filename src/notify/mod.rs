//! Messages to people: recorded with the change that they tell of, delivered afterwards, with a delivery state.
//!
//! In: a [`Notification`] within a transaction. Out: an HTTP request to the configured [`Receiver`], at least once, and the
//! state of its row: `pending` → `delivered`, `failed` (all attempts used) or `unconfigured` (no receiver).
//! Always holds: one row for each `dedupe_key` of a tenant; the receiver gets the key, so that it can drop a repetition.
//! Not here: who decides that people must know, and chat channels.

mod deliver;
mod receiver;
mod store;

use serde::Serialize;
use serde_json::Value;

pub use deliver::{Courier, JOB_KIND, MAX_ATTEMPTS};
pub use receiver::{Receiver, Refusal};
pub use store::MessageRow;

use crate::{
    domain::{CanonicalError, NotificationId, OpCtx, canonical, redact::Redactor},
    store::{Error as StoreError, Tx},
};

/// Why people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A plan waits for a person.
    ApprovalRequested,
    /// An alert that the system cannot explain.
    Escalation,
    /// An execution stands still until a person decides, or the two engines of policy do not agree.
    NeedsAttention,
    /// A rollback did not work.
    RollbackFailed,
    /// An execution ended.
    Finished,
    /// Identities, roles, targets or policies changed.
    AdminChange,
}

impl Kind {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalRequested => "approval_requested",
            Self::Escalation => "escalation",
            Self::NeedsAttention => "needs_attention",
            Self::RollbackFailed => "rollback_failed",
            Self::Finished => "finished",
            Self::AdminChange => "admin_change",
        }
    }
}

/// Whether somebody must look now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// When there is time.
    Info,
    /// Now.
    Page,
}

impl Severity {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Page => "page",
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Why.
    pub kind: Kind,
    /// How urgent.
    pub severity: Severity,
    /// One line.
    pub subject: String,
    /// An object without secrets, nulls and floats.
    pub body: Value,
    /// The same key is sent once: `exec_…/needs_attention/3`.
    pub dedupe_key: String,
}

/// A message could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body has no canonical form.
    #[error("the body of a notification cannot be written: {0}")]
    Body(#[from] CanonicalError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes a message for delivery, in the caller's transaction; none when its `dedupe_key` was taken before.
///
/// # Errors
/// [`Error::Body`], [`Error::Store`]: the transaction must then be given up.
pub async fn send(
    tx: &mut Tx,
    ctx: &OpCtx,
    notification: Notification,
) -> Result<Option<NotificationId>, Error> {
    let row = row(ctx, notification)?;
    Ok(store::insert(tx, row).await?)
}

/// As [`send`], for a statement of a stage that calls `send_message` itself: one round trip less.
///
/// # Errors
/// [`Error::Body`].
pub fn row(ctx: &OpCtx, notification: Notification) -> Result<MessageRow, Error> {
    let notification = without_secrets(notification);
    let body = canonical::value_to_bytes(&notification.body)?;
    metrics::counter!("carapulse_notify_taken_messages", "kind" => notification.kind.as_str()).increment(1);
    Ok(MessageRow::new(ctx, notification, body))
}

/// Gives the tenant's messages that wait, but whose job is gone, a job again; says how many these were.
///
/// # Errors
/// [`Error::Store`].
pub async fn find_lost(tx: &mut Tx) -> Result<u64, Error> {
    Ok(store::insert_lost_jobs(tx).await?)
}

/// The one place through which every message goes: whoever wrote its words, no secret leaves with them.
fn without_secrets(notification: Notification) -> Notification {
    let redactor = Redactor::new();
    Notification {
        subject: redactor.redact_text(&notification.subject),
        body: redactor.redact_value(&notification.body),
        dedupe_key: redactor.redact_text(&notification.dedupe_key),
        ..notification
    }
}
