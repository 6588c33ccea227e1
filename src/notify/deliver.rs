//! The worker step: one due message, one attempt, one state.

use std::sync::OnceLock;

use super::{Error, Receiver, Refusal, store};
use crate::{
    domain::{NotificationId, Rotating},
    store::{Db, Error as StoreError, job},
};

/// Kind of a delivery's job; its subject is the notification.
pub const JOB_KIND: &str = "notify";
/// After this many attempts a message is given up.
pub const MAX_ATTEMPTS: i32 = 8;
/// First pause after a failed attempt, in seconds; doubled each time.
const FIRST_PAUSE_SECS: i64 = 5;
/// Longest pause.
const MAX_PAUSE_SECS: i64 = 900;

/// Delivers messages to the configured receiver, or notes that there is none.
#[derive(Debug)]
pub struct Courier {
    receiver: Option<Rotating<Receiver>>,
    client: OnceLock<reqwest::Client>,
}

enum Outcome {
    Ended {
        status: &'static str,
        error: Option<String>,
    },
    Again {
        error: String,
    },
}

impl Courier {
    /// A courier; without a receiver every message ends `unconfigured`, with a warning in the log.
    #[must_use]
    pub fn new<R: Into<Rotating<Receiver>>>(receiver: Option<R>) -> Self {
        Self {
            receiver: receiver.map(Into::into),
            client: OnceLock::new(),
        }
    }

    /// Leases a due message, if any, and delivers it. `true` when there was one: ask again at once. `db` is of the
    /// orchestrator's role.
    ///
    /// # Errors
    /// [`Error::Store`]. The lease then ends by itself, and the message is tried again.
    pub async fn deliver_due(&self, db: &Db, owner: uuid::Uuid) -> Result<bool, Error> {
        // Longer than the receiver's time limit, so that nobody else delivers meanwhile.
        let Some(lease) = job::lease(db, &[JOB_KIND], owner, 60).await? else {
            return Ok(false);
        };
        self.deliver(db, &lease).await?;
        Ok(true)
    }

    /// One attempt at a leased message.
    ///
    /// # Errors
    /// As [`Courier::deliver_due`].
    pub async fn deliver(&self, db: &Db, lease: &job::Lease) -> Result<(), Error> {
        let subject = lease
            .subject
            .ok_or_else(|| StoreError::Corrupt("a notify job without a subject".to_owned()))?;
        let id = NotificationId::from_uuid(subject);
        let mut tx = db.begin(&lease.tenant).await?;
        let pending = store::find_pending(&mut tx, id).await?;
        tx.commit().await?;
        let Some(message) = pending else {
            let mut tx = db.begin(&lease.tenant).await?;
            job::finish(&mut tx, lease).await?;
            return Ok(tx.commit().await?);
        };
        let attempts = message.attempts + 1;
        let outcome = self.attempt(lease, id, &message, attempts).await;
        let mut tx = db.begin(&lease.tenant).await?;
        match outcome {
            Outcome::Ended { status, error } => {
                store::update_status(&mut tx, id, status, attempts, error.as_deref()).await?;
                job::finish(&mut tx, lease).await?;
                metrics::counter!("carapulse_notify_ended_messages", "status" => status).increment(1);
            }
            Outcome::Again { error } => {
                store::update_status(&mut tx, id, "pending", attempts, Some(&error)).await?;
                job::reschedule(&mut tx, lease, pause_secs(attempts), Some(&error)).await?;
                metrics::counter!("carapulse_notify_failed_attempts").increment(1);
            }
        }
        Ok(tx.commit().await?)
    }

    async fn attempt(
        &self,
        lease: &job::Lease,
        id: NotificationId,
        message: &store::Pending,
        attempts: i32,
    ) -> Outcome {
        let Some(receiver) = &self.receiver else {
            tracing::warn!(notification_id = %id, kind = %message.kind, subject = %message.subject,
                "nobody is told: no receiver for notifications is configured");
            return Outcome::Ended {
                status: "unconfigured",
                error: None,
            };
        };
        let sent = match self.client() {
            Ok(client) => receiver.get().deliver(client, &lease.tenant, id, message).await,
            Err(refusal) => Err(refusal),
        };
        match sent {
            Ok(()) => {
                tracing::info!(notification_id = %id, kind = %message.kind, attempts, "notification delivered");
                Outcome::Ended {
                    status: "delivered",
                    error: None,
                }
            }
            Err(Refusal {
                message: error,
                retryable,
            }) if !retryable || attempts >= MAX_ATTEMPTS => {
                tracing::error!(notification_id = %id, kind = %message.kind, attempts, error, "notification given up");
                Outcome::Ended {
                    status: "failed",
                    error: Some(error),
                }
            }
            Err(Refusal { message: error, .. }) => {
                tracing::warn!(notification_id = %id, kind = %message.kind, attempts, error, "notification not delivered yet");
                Outcome::Again { error }
            }
        }
    }

    fn client(&self) -> Result<&reqwest::Client, Refusal> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Receiver::client()?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn pause_secs(attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    (FIRST_PAUSE_SECS << doublings).min(MAX_PAUSE_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        assert_eq!([1, 2, 3, 8, 9, 100].map(pause_secs), [5, 10, 20, 640, 900, 900]);
    }
}
