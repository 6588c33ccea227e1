//! `GET /v1/executions/{id}/logs`: a live stream of what an execution does, that can be taken up where it broke off.
//!
//! In: an execution, and perhaps the `Last-Event-ID` of an earlier stream. Out: server-sent events: `step` (journal entries, in the
//! journal's dense order), `log` (output of attempts), at last `end`.
//! Always holds: the database is the only source, so any gateway can serve any stream; nothing is sent twice to one stream; the stream
//! ends after everything that was written before the execution's end; whoever's token was revoked or has run out is sent nothing more:
//! it is looked up again before every read.

mod store;

use std::{collections::VecDeque, convert::Infallible, str::FromStr, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    domain::{Digest, ExecutionId, OpCtx, run::JournalEvent},
    gateway::{
        Gateway,
        access::Caller,
        identity,
        page::{Id, Params},
        problem::{Kind, Problem},
        streams::Open,
    },
    store::Error,
};

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Rows a turn.
const PAGE: i64 = 100;

/// What of the output is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    level: Option<String>,
    step: Option<i32>,
    /// `false` ends the stream once everything that is there now was sent.
    follow: Option<bool>,
}

/// How far a stream has come: `<journal entries>.<microseconds>.<chunk>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Journal entries that were sent.
    pub(super) journal: i64,
    /// Time of the last chunk that was sent.
    pub(super) logged_at: DateTime<Utc>,
    /// That chunk.
    pub(super) chunk: Uuid,
}

impl Position {
    const START: Self = Self {
        journal: 0,
        logged_at: DateTime::UNIX_EPOCH,
        chunk: Uuid::nil(),
    };
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            journal: next()?.parse::<u32>().map_err(drop)?.into(),
            logged_at: DateTime::from_timestamp_micros(next()?.parse().map_err(drop)?).ok_or(())?,
            chunk: Uuid::try_parse(next()?).map_err(drop)?,
        })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            self.journal,
            self.logged_at.timestamp_micros(),
            self.chunk.simple()
        )
    }
}

/// Opens the stream; 404 before anything is streamed.
pub(in crate::gateway) async fn stream(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default().parse());
    let refused = |()| {
        Problem::new(
            Kind::InvalidRequest,
            "`Last-Event-ID` is not one of this stream's ids; leave it out to start at the beginning",
        )
    };
    let position = last.transpose().map_err(refused)?.unwrap_or(Position::START);
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let known = store::find_status(&mut tx, id).await?;
    tx.commit().await?;
    if known.is_none() {
        return Err(Problem::not_found("execution", id));
    }
    let open = gateway.streams.open(ctx.actor.token_id).map_err(|most| {
        let detail =
            format!("this token has {most} log streams open, which is as many as it may; close one first");
        Problem::new(Kind::TooManyStreams, detail)
    })?;
    let now = Instant::now();
    let tail = Tail {
        open,
        gateway,
        ctx,
        id,
        query,
        position,
        ready: VecDeque::from([Bytes::from_static(b":ok\n\n")]),
        ended: false,
        beat: now,
    };
    let body = Body::from_stream(futures::stream::unfold(tail, |mut tail| async move {
        let frame = tail.next().await?;
        Some((Ok::<_, Infallible>(frame), tail))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// One open stream.
struct Tail {
    open: Open,
    gateway: Gateway,
    ctx: OpCtx,
    id: ExecutionId,
    query: Query,
    position: Position,
    ready: VecDeque<Bytes>,
    ended: bool,
    beat: Instant,
}

impl Tail {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.beat = Instant::now();
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            match self.look().await {
                Ok(true) => {}
                Ok(false) => self.wait().await,
                Err(error) => {
                    tracing::warn!(%error, execution_id = %self.id, "a log stream broke off");
                    self.finish("bye", json!({"reason": "unavailable"}));
                }
            }
        }
    }

    /// Reads what is new. Whether it is over is asked first: what was written before the end is then read after it.
    async fn look(&mut self) -> Result<bool, Error> {
        let mut tx = self.gateway.db.begin(&self.ctx.tenant).await?;
        let status = store::find_status(&mut tx, self.id)
            .await?
            .ok_or(Error::NotFound)?;
        let entries = store::list_journal(&mut tx, self.id, self.position.journal, PAGE).await?;
        let chunks = store::list_chunks(&mut tx, self.id, &self.position, PAGE).await?;
        // Asked last: what was read was written before this look at the token, so nothing written after its end is sent.
        if let Some(token_id) = self.ctx.actor.token_id
            && !identity::is_live(&mut tx, token_id).await?
        {
            self.finish("bye", json!({"reason": "unauthenticated"}));
            return Ok(true);
        }
        tx.commit().await?;
        let found = !entries.is_empty() || !chunks.is_empty();
        for entry in entries {
            self.position.journal = entry.seq + 1;
            let data = json!({
                "execution_id": self.id,
                "level": "info",
                "message": describe(&entry.event),
                "entry": entry.event,
                "timestamp": entry.recorded_at.to_rfc3339(),
            });
            self.push("step", &data);
        }
        for chunk in chunks {
            self.position.logged_at = chunk.logged_at;
            self.position.chunk = chunk.chunk_id;
            self.push_chunk(chunk).await;
        }
        if !found && (status.ended || self.query.follow == Some(false)) {
            self.finish("end", json!({"execution_id": self.id, "status": status.status}));
            return Ok(true);
        }
        Ok(found)
    }

    async fn push_chunk(&mut self, chunk: store::Chunk) {
        let wanted = self
            .query
            .level
            .as_deref()
            .is_none_or(|level| level == chunk.level)
            && self.query.step.is_none_or(|step| step == chunk.step);
        if !wanted {
            return;
        }
        let text = match (
            chunk.inline,
            chunk.object_digest.as_deref().and_then(Digest::from_slice),
        ) {
            (Some(bytes), _) => String::from_utf8_lossy(&bytes).into_owned(),
            (None, Some(digest)) => match self.gateway.objects.get(&digest).await {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) => format!("(this part of the log cannot be read now: {error})"),
            },
            (None, None) => String::new(),
        };
        let direction = if chunk.direction == "rollback" {
            "rollback/"
        } else {
            ""
        };
        let last = text.lines().count();
        for (number, line) in (1..).zip(text.lines()) {
            let data = json!({
                "execution_id": self.id,
                "tool_call_id": format!("{direction}{}/{}", chunk.step, chunk.attempt),
                "step": chunk.step,
                "stream": chunk.stream,
                "level": chunk.level,
                "message": line,
                "timestamp": chunk.logged_at.to_rfc3339(),
            });
            if number == last {
                self.push("log", &data);
            } else {
                // Only the last line carries the id: whoever breaks off within a chunk gets the whole of it again.
                self.ready
                    .push_back(Bytes::from(format!("event: log\ndata: {data}\n\n")));
            }
        }
    }

    fn push(&mut self, event: &str, data: &Value) {
        self.ready.push_back(Bytes::from(format!(
            "event: {event}\nid: {}\ndata: {data}\n\n",
            self.position
        )));
    }

    fn finish(&mut self, event: &str, data: Value) {
        self.push(event, &data);
        self.ended = true;
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(self.open.pause()) => {}
            () = self.gateway.stop.cancelled() => self.finish("bye", json!({"reason": "stopping"})),
        }
        if self.beat.elapsed() >= HEARTBEAT {
            self.ready.push_back(Bytes::from_static(b":hb\n\n"));
        }
    }
}

/// A journal entry in words.
fn describe(event: &JournalEvent) -> String {
    let which = |step: u32, direction: &crate::domain::run::Direction, attempt: u32| {
        format!("step {step}, {}, attempt {attempt}", direction.as_str())
    };
    match event {
        JournalEvent::Started => "started".to_owned(),
        JournalEvent::Intended {
            step,
            direction,
            attempt,
        } => format!("{}: begun", which(*step, direction, *attempt)),
        JournalEvent::Ended {
            step,
            direction,
            attempt,
            status,
            code,
            ..
        } => {
            let code = code
                .as_deref()
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            format!("{}: {}{code}", which(*step, direction, *attempt), status.as_str())
        }
        JournalEvent::Probed {
            step,
            direction,
            attempt,
            report,
        } => {
            format!(
                "{}: looked at after a break: {report:?}",
                which(*step, direction, *attempt)
            )
        }
        JournalEvent::Looked { verdict, last } => {
            format!(
                "verification: {}{}",
                verdict.as_str(),
                if *last { ", at the end of its window" } else { "" }
            )
        }
        JournalEvent::CancelRequested { by } => format!("{by} asked to stop"),
        JournalEvent::RollbackRequested { by, .. } => format!("{by} asked to roll back"),
        JournalEvent::Resolved { step, resolution, by } => {
            format!("{by} resolved step {step} as {resolution:?}")
        }
        JournalEvent::Held { code } => format!("held: {code}"),
        JournalEvent::DeadlinePassed => "the plan's time is over".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_nothing_else_is_one() {
        let position = Position {
            journal: 7,
            logged_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            chunk: Uuid::from_u128(5),
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in [
            "",
            "1",
            "1.2",
            "-1.2.00000000000000000000000000000005",
            "1.x.00000000000000000000000000000005",
            "1.2.z",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(()), "{bad}");
        }
    }
}
