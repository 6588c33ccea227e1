//! Stage 1: something happened, or someone asked.
//!
//! In: a webhook delivery, already parsed, from a source whose token names the tenant. Out: deduplicated [`signal`]s, grouped into
//! incidents, and a job for each new incident; the sender is answered after the commit.
//! Always holds: a delivery is stored wholly or not at all; the same alert twice is one row with a counter; a resolved alert never
//! opens anything; labels choose nothing but keys to look up; no secret that somebody put into an alert is kept.
//! Not here: what an incident means (`diagnose`) and what is done about it (`investigation`).

pub mod alertmanager;
mod batch;
pub mod signal;
mod store;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::{
    domain::{EventId, OpCtx, redact::Redactor},
    store::Db,
};
use alertmanager::Delivery;

pub use batch::Batcher;

/// Kind of the job that works on an incident; its subject is the incident's id.
pub const JOB: &str = "investigation";

/// How many deliveries may wait before more are turned away.
const QUEUE: usize = 2_000;

/// Hands deliveries to the [`Batcher`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake(mpsc::Sender<Waiting>);

/// A delivery that waits for its commit.
#[derive(Debug)]
struct Waiting {
    ctx: OpCtx,
    event_id: EventId,
    delivery: Delivery,
    raw: Bytes,
    /// What is kept of `raw`.
    kept: Bytes,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// Why a delivery was not taken. Its sender should send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many deliveries wait already, or the process is stopping.
    #[error("too many deliveries wait; send it again")]
    Busy,
    /// The database did not take it.
    #[error("the delivery was not stored: {0}")]
    Store(String),
}

/// The two ends of the intake of one process: the router keeps the first, a task runs the second.
#[must_use]
pub fn channel(db: Db) -> (Intake, Batcher) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Intake(sender), Batcher::new(db, receiver))
}

impl Intake {
    /// Stores a delivery and returns its id after the commit. `raw` is the body as it came.
    pub async fn accept(&self, ctx: OpCtx, delivery: Delivery, raw: Bytes) -> Result<EventId, Error> {
        let (answer, answered) = oneshot::channel();
        let event_id = ctx.id();
        let waiting = Waiting {
            ctx,
            event_id,
            delivery,
            kept: without_secrets(&raw),
            raw,
            answer,
        };
        self.0.try_send(waiting).map_err(|_| Error::Busy)?;
        answered.await.map_err(|_| Error::Busy)??;
        Ok(event_id)
    }
}

/// The body as it is kept: as it came, but for the secrets in it. The digest beside it is of what came.
fn without_secrets(raw: &Bytes) -> Bytes {
    let Ok(body) = serde_json::from_slice::<Value>(raw) else {
        return raw.clone(); // never stored: the caller has parsed it
    };
    let kept = Redactor::new().redact_value(&body);
    if kept == body {
        raw.clone()
    } else {
        kept.to_string().into()
    }
}
