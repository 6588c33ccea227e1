//! How an act ended, as rows: the attempt, its log and its audit event in one transaction.

use std::time::Duration;

use serde_json::json;

use super::{
    ClientError, Fault, Router,
    act::Done,
    output::{self, Chunk},
    store::{self, End},
};
use crate::{
    audit,
    domain::{
        OpCtx,
        run::{ActRef, ActReport, AttemptStatus},
    },
    store::crash,
    warrant::Warrant,
};

/// A result is tried to be stored this often, with growing pauses (about 13 s in all).
const STORE_TRIES: u32 = 8;

impl Router {
    /// Stores the end. Tried again for a while; if that fails the attempt is left to a probe.
    pub(super) async fn record(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        done: Done,
    ) -> Result<ActReport, ClientError> {
        let mut log = done.log;
        if let Some(message) = &done.end.message {
            let code = done.end.code.as_deref().unwrap_or_default();
            log.push(output::system("error", &format!("{code}: {message}")));
        }
        let placed = output::place(&self.objects, log).await;
        let mut pause = Duration::from_millis(100);
        for tried in 1.. {
            match self.record_once(ctx, warrant, &done.end, &placed).await {
                Ok(true) => break,
                // A probe came first, or our own commit whose answer was lost: the row has the last word, as the journal will.
                Ok(false) => return self.stored_report(ctx, warrant.act()).await,
                Err(error) if tried < STORE_TRIES => {
                    tracing::warn!(%error, "an act's end is not stored yet");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    return Err(ClientError::Unavailable(format!(
                        "the act ended, its end is not stored: {error}"
                    )));
                }
            }
        }
        crash::point("router.after_record");
        let End {
            status,
            code,
            message,
            answer,
        } = done.end;
        Ok(ActReport {
            status,
            code,
            message,
            retryable: answer.retryable,
        })
    }

    async fn record_once(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        end: &End,
        placed: &[(Chunk, output::Placed)],
    ) -> Result<bool, Fault> {
        let act = warrant.act();
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let event = ended_event(act, warrant.action(), end).plan(warrant.plan_id());
        let event = audit::row(&tx, ctx, &event).map_err(|e| Fault::unavailable("store", e.to_string()))?;
        if !store::update_ended(&mut tx, act, warrant.nonce(), end, event).await? {
            return Ok(false);
        }
        for (chunk, place) in placed {
            store::insert_chunk(&mut tx, ctx, act, chunk, place).await?;
        }
        crash::point("router.before_record");
        tx.commit().await?;
        Ok(true)
    }
}

/// The audit event of an attempt's end.
pub(super) fn ended_event(act: &ActRef, action: (&str, &str), end: &End) -> audit::Event {
    let details = json!({
        "tool": action.0,
        "action": action.1,
        "step": act.step,
        "direction": act.direction,
        "attempt": act.attempt,
        "status": end.status,
        "code": end.code.as_deref().unwrap_or_default(),
        "message": end.message.as_deref().unwrap_or_default(),
        "values": end.answer.values,
        "probed": end.answer.probed,
    });
    let (name, decision) = match end.status {
        AttemptStatus::Refused => ("tool.refused", audit::Decision::Deny),
        _ => ("tool.ended", audit::Decision::None),
    };
    audit::Event::new(name, details)
        .decision(decision)
        .execution(act.execution_id)
        .subject(act.execution_id)
}
