//! The second opinion on policy: each decision is also asked of an OPA server, and what differs is told.
//!
//! In: a decision with its exact question, as policy's [`Witness`]. Out: counters, log lines, audit events, pages.
//! Always holds: a decision neither waits for OPA nor depends on it; what the queue cannot hold is counted and let go; an
//! answer that cannot be had or read is an error, never agreement; no question holds arguments or secrets, and no log line
//! or page holds a question.
//! Not here: which rules OPA serves (`carapulse policy export` writes the active bundle for it).

mod alarm;
mod compare;
mod opa;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use alarm::{ACTION, page_recorded};
pub use compare::{Difference, compare};
pub use opa::{Answer, Opa};

use self::alarm::Alarm;
use crate::{
    audit, connectors,
    domain::{CanonicalError, Digest, TenantId, canonical},
    notify,
    policy::{Decision, Input, Witness},
    store::{self, Db},
};

/// A difference could not be told of durably.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// Messages to people.
    #[error(transparent)]
    Notify(#[from] notify::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A decision that waits to be compared.
#[derive(Debug)]
struct Question {
    tenant: TenantId,
    action: String,
    target: String,
    /// Canonical bytes: what `policy_decision.input` holds.
    input: Vec<u8>,
    decision: Decision,
}

impl Question {
    fn of(input: &Input, decision: &Decision) -> Result<Self, CanonicalError> {
        Ok(Self {
            tenant: input.tenant.clone(),
            action: input.action.name.clone(),
            target: input.target.name.clone(),
            input: canonical::to_bytes(input)?,
            decision: decision.clone(),
        })
    }

    /// Finds the stored decision: `… FROM policy_decision WHERE sha256(input) = …`.
    fn digest(&self) -> Digest {
        Digest::of_content(&self.input)
    }
}

/// The end of the queue that decisions go into.
#[derive(Debug)]
pub struct Shadow {
    queue: mpsc::Sender<Question>,
}

impl Witness for Shadow {
    fn decided(&self, input: &Input, decision: &Decision) {
        match Question::of(input, decision) {
            Ok(question) => {
                if self.queue.try_send(question).is_err() {
                    metrics::counter!("carapulse_policy_shadow_dropped_total").increment(1);
                }
            }
            Err(error) => {
                count_error("question");
                tracing::error!(%error, "a question to policy has no canonical form");
            }
        }
    }
}

/// The end that asks OPA.
#[derive(Debug)]
pub struct Comparator {
    opa: Opa,
    questions: mpsc::Receiver<Question>,
    alarm: Alarm,
    /// The last question went unanswered: further ones are logged more quietly.
    failing: bool,
}

/// A queue of at most `length` decisions, in front of `opa`.
#[must_use]
pub fn channel(opa: Opa, length: usize) -> (Arc<Shadow>, Comparator) {
    let (queue, questions) = mpsc::channel(length);
    describe();
    let comparator = Comparator {
        opa,
        questions,
        alarm: Alarm::default(),
        failing: false,
    };
    (Arc::new(Shadow { queue }), comparator)
}

impl Comparator {
    /// Compares decisions until told to stop; `db` is of the role that decides. What waits then is not compared.
    pub async fn run(&mut self, db: &Db, stop: &CancellationToken) {
        while let Some(Some(question)) = stop.run_until_cancelled(self.questions.recv()).await {
            let Some(difference) = self.compare(&question).await else {
                continue;
            };
            // The counter and the log line stand; the next difference is tried again.
            if let Err(error) = self.alarm.record(db, &question, &difference).await {
                count_error("alarm");
                tracing::error!(%error, "a difference of the shadow comparator could not be recorded");
            }
        }
    }

    async fn compare(&mut self, question: &Question) -> Option<Difference> {
        let answer = match self.opa.ask(&question.input).await {
            Ok(answer) => answer,
            Err(error) => {
                self.unanswered(&error);
                return None;
            }
        };
        if std::mem::take(&mut self.failing) {
            tracing::info!("the shadow comparator answers again");
        }
        metrics::counter!("carapulse_policy_shadow_checks_total").increment(1);
        let difference = compare(&question.decision, &answer)?;
        tell(question, &difference);
        Some(difference)
    }

    fn unanswered(&mut self, error: &connectors::Error) {
        let kind = kind(error);
        count_error(kind);
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(kind, %error, "the shadow comparator gives no answer");
        } else {
            tracing::warn!(kind, %error, "the shadow comparator gives no answer: decisions go on without it");
        }
    }
}

fn tell(question: &Question, difference: &Difference) {
    if difference.other_bundle.is_some() {
        metrics::counter!("carapulse_policy_shadow_differences_total", "kind" => "bundle").increment(1);
    }
    if !difference.fields.is_empty() {
        metrics::counter!("carapulse_policy_shadow_differences_total", "kind" => "answer").increment(1);
    }
    tracing::error!(
        tenant = %question.tenant,
        action = question.action,
        target = question.target,
        input_digest = %question.digest(),
        bundle = %question.decision.bundle,
        other_bundle = difference.other_bundle.as_deref().unwrap_or("-"),
        fields = difference.fields.join(","),
        ours = question.decision.decision.as_str(),
        theirs = difference.theirs.decision.as_str(),
        "OPA does not say what our own engine says"
    );
}

const fn kind(error: &connectors::Error) -> &'static str {
    match error {
        connectors::Error::Timeout { .. } => "timeout",
        connectors::Error::Unreachable { .. } => "unreachable",
        connectors::Error::Status { .. } => "status",
        connectors::Error::TooLong { .. } | connectors::Error::Unreadable { .. } => "malformed",
        connectors::Error::Secret { .. } | connectors::Error::Address(_) | connectors::Error::Refused(_) => {
            "refused"
        }
    }
}

fn count_error(kind: &'static str) {
    metrics::counter!("carapulse_policy_shadow_errors_total", "kind" => kind).increment(1);
}

/// Every counter is there from the start, so that an alert can tell nought from nothing.
fn describe() {
    metrics::counter!("carapulse_policy_shadow_checks_total").increment(0);
    metrics::counter!("carapulse_policy_shadow_dropped_total").increment(0);
    for kind in ["answer", "bundle"] {
        metrics::counter!("carapulse_policy_shadow_differences_total", "kind" => kind).increment(0);
    }
    for kind in [
        "timeout",
        "unreachable",
        "status",
        "malformed",
        "refused",
        "question",
        "alarm",
    ] {
        metrics::counter!("carapulse_policy_shadow_errors_total", "kind" => kind).increment(0);
    }
}

#[cfg(test)]
mod tests;
