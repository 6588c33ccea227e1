//! One turn of one execution: decide, commit, carry out, until there is something to wait for.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    machine::{Command, Phase, RunStatus, State, apply, next},
    store::{self, Loaded},
};
use crate::{
    audit,
    domain::{
        ExecutionId, OpCtx,
        run::{ActRef, JournalEvent, LookRef, ProbeReport},
    },
    notify::{self, Kind, Notification, Severity},
    store::{Db, Tx, crash, job::Lease},
    tools::Client,
    verify::{self, Look},
};

/// Pause before an attempt that is still running is looked at again.
const PROBE_PAUSE: Duration = Duration::from_millis(300);
/// Pause before a busy target or an unreachable tool-router is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A suspended execution is woken by a request; this is only a safety net.
const SUSPENDED_PAUSE: Duration = Duration::from_secs(3600);

/// What an execution waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing: it is over.
    Over,
    /// Time, or a request, whichever is first.
    For(Duration),
}

/// Carries out what the machine asks for.
#[derive(Debug)]
pub(super) struct Driver {
    db: Db,
    client: Client,
}

/// What the last command brought, to be journalled with the next commit.
enum News {
    Nothing,
    Event(JournalEvent),
    Looked(Look),
}

/// What to do once the transaction is committed.
enum Then {
    Act(ActRef),
    Probe(ActRef),
    Look,
    Pause(Pause),
}

impl Driver {
    pub(super) fn new(db: Db, client: Client) -> Self {
        Self { db, client }
    }

    /// Drives the execution that `lease` is about until it has to wait or `stop` asks for the lease back.
    pub(super) async fn drive(&self, lease: &Lease, stop: &CancellationToken) -> Result<Pause, Error> {
        let Some(subject) = lease.subject else {
            return Ok(Pause::Over);
        };
        let id = ExecutionId::from(subject);
        let ctx = OpCtx::system("engine", lease.tenant.clone());
        let mut news = News::Nothing;
        loop {
            let then = match self.turn(&ctx, id, lease.epoch, &mut news).await {
                Err(Error::PlanChanged(_)) => return self.refuse_changed(&ctx, id, lease.epoch).await,
                then => then?,
            };
            news = match then {
                Then::Pause(pause) => return Ok(pause),
                Then::Act(act) => self.act(&act).await,
                Then::Probe(act) => match self.probe(&act).await {
                    Some(event) => News::Event(event),
                    None => return Ok(Pause::For(PROBE_PAUSE)),
                },
                Then::Look => match self.look(&ctx, id, lease.epoch).await {
                    Some(look) => News::Looked(look),
                    None => return Ok(Pause::For(RETRY_PAUSE)),
                },
            };
            if stop.is_cancelled() && matches!(news, News::Nothing) {
                return Ok(Pause::For(Duration::ZERO));
            }
        }
    }

    /// One transaction: journals the news and what people asked, then the intent of what comes next.
    async fn turn(&self, ctx: &OpCtx, id: ExecutionId, epoch: i64, news: &mut News) -> Result<Then, Error> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let Some(mut loaded) = store::lock(&mut tx, id, epoch).await? else {
            return Ok(Then::Pause(Pause::Over));
        };
        let before = loaded.state.clone();
        let mut events = Vec::new();
        take_news(&mut tx, ctx, &mut loaded, news, &mut events).await?;
        if loaded.asked {
            take_requests(&mut tx, ctx, &mut loaded, &mut events).await?;
        }
        check_limits(&mut loaded, &mut events);
        let then = decide(&mut tx, ctx, epoch, &mut loaded, &mut events).await?;
        if !events.is_empty() {
            store::advance(&mut tx, &loaded, epoch, &events).await?;
            tell(&mut tx, ctx, &loaded, &before).await?;
        }
        let (before, after) = places(&then);
        crash::point(before);
        tx.commit().await?;
        crash::point(after);
        *news = News::Nothing;
        Ok(then)
    }

    async fn act(&self, act: &ActRef) -> News {
        let report = match self.client.act(act).await {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(%error, step = act.step, "no report of an act; it will be probed");
                return News::Nothing;
            }
        };
        crash::point("engine.after_act");
        News::Event(JournalEvent::Ended {
            step: act.step,
            direction: act.direction,
            attempt: act.attempt,
            status: report.status,
            code: report.code,
            retryable: report.retryable,
        })
    }

    async fn probe(&self, act: &ActRef) -> Option<JournalEvent> {
        crash::point("engine.before_probe");
        let report = match self.client.probe(act).await {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(%error, step = act.step, "the tool-router cannot be asked about a lost attempt");
                return None;
            }
        };
        if report != ProbeReport::Running {
            crash::point("engine.after_probe");
        }
        let event = JournalEvent::Probed {
            step: act.step,
            direction: act.direction,
            attempt: act.attempt,
            report,
        };
        (report != ProbeReport::Running).then_some(event)
    }

    /// None when the tool-router cannot look now: without its verdict nothing is known, and nothing is decided.
    async fn look(&self, ctx: &OpCtx, id: ExecutionId, epoch: i64) -> Option<Look> {
        let named = LookRef {
            tenant_id: ctx.tenant.clone(),
            execution_id: id,
            epoch,
        };
        crash::point("engine.before_look");
        let look = verify::look(&self.client, &named).await;
        crash::point("engine.after_look");
        look.inspect_err(|error| tracing::warn!(%error, "the tool-router cannot look at the assertions"))
            .ok()
    }

    /// The approved bytes are gone: nothing can be done on their authority, forward or back.
    async fn refuse_changed(&self, ctx: &OpCtx, id: ExecutionId, epoch: i64) -> Result<Pause, Error> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let status = store::fail_changed(&mut tx, id, epoch).await?;
        store::release_targets(&mut tx, id).await?;
        let event = audit::Event::new(
            "execution.refused",
            json!({ "code": "digest_mismatch", "status": status }),
        );
        audit::record(
            &mut tx,
            ctx,
            event
                .subject(id.uuid())
                .execution(id)
                .decision(audit::Decision::Deny),
        )
        .await?;
        page(
            &mut tx,
            ctx,
            id,
            Kind::NeedsAttention,
            "the stored plan is not the one that was approved",
        )
        .await?;
        tx.commit().await?;
        Ok(Pause::Over)
    }
}

/// Names of the commit for tests that kill the process around it.
const fn places(then: &Then) -> (&'static str, &'static str) {
    match then {
        Then::Act(_) => ("engine.before_intent", "engine.after_intent"),
        Then::Pause(Pause::Over) => ("engine.before_finish", "engine.after_finish"),
        Then::Probe(_) | Then::Look | Then::Pause(Pause::For(_)) => {
            ("engine.before_commit", "engine.after_commit")
        }
    }
}

async fn take_news(
    tx: &mut Tx,
    ctx: &OpCtx,
    loaded: &mut Loaded,
    news: &mut News,
    events: &mut Vec<JournalEvent>,
) -> Result<(), Error> {
    let event = match news {
        News::Nothing => return Ok(()),
        News::Event(event) => event.clone(),
        News::Looked(look) => {
            store::insert_evidence(tx, ctx, loaded.execution_id, &look.judged).await?;
            JournalEvent::Looked {
                verdict: look.verdict,
                last: look.last,
            }
        }
    };
    push(loaded, events, event);
    Ok(())
}

async fn take_requests(
    tx: &mut Tx,
    ctx: &OpCtx,
    loaded: &mut Loaded,
    events: &mut Vec<JournalEvent>,
) -> Result<(), Error> {
    for request in store::open_requests(tx, loaded.execution_id).await? {
        match apply(&loaded.shape, loaded.state.clone(), &request.event) {
            Ok(state) => {
                loaded.state = state;
                events.push(request.event);
                store::settle_request(tx, request.request_id, None).await?;
            }
            Err(illegal) => {
                store::settle_request(tx, request.request_id, Some(&illegal.to_string())).await?;
                let details = json!({ "by": request.by, "why": illegal.to_string() });
                let event =
                    audit::Event::new("execution.request_refused", details).decision(audit::Decision::Deny);
                audit::record(tx, ctx, event.execution(loaded.execution_id)).await?;
            }
        }
    }
    Ok(())
}

/// The plan's duration bounds forward acts; a freeze suspends them. A restore stops everything: what was done since the
/// backup was taken nobody here knows, and the approval is void.
fn check_limits(loaded: &mut Loaded, events: &mut Vec<JournalEvent>) {
    let phase = loaded.state.phase;
    let moves = matches!(phase, Phase::Forward | Phase::Verifying | Phase::RollingBack);
    if !moves || running(&loaded.state) {
        return;
    }
    let reason = loaded.stop_reason.clone();
    if reason.as_deref() != Some("restored") && phase != Phase::Forward {
        return;
    }
    let limit = TimeDelta::seconds(i64::from(loaded.doc.constraints.max_duration_secs));
    let late = loaded.started_at.is_some_and(|start| loaded.now - start > limit);
    match reason {
        Some(code) if code == "restored" => push(loaded, events, JournalEvent::Held { code }),
        _ if late => push(loaded, events, JournalEvent::DeadlinePassed),
        Some(code) => push(loaded, events, JournalEvent::Held { code }),
        None => {}
    }
}

async fn decide(
    tx: &mut Tx,
    ctx: &OpCtx,
    epoch: i64,
    loaded: &mut Loaded,
    events: &mut Vec<JournalEvent>,
) -> Result<Then, Error> {
    let id = loaded.execution_id;
    let named = |step, direction, attempt| ActRef {
        tenant_id: ctx.tenant.clone(),
        execution_id: id,
        step,
        direction,
        attempt,
        epoch,
    };
    loop {
        match next(&loaded.shape, &loaded.state) {
            Command::Start => {
                if !store::take_target(tx, id, loaded.doc.target.target_id).await? {
                    return Ok(Then::Pause(Pause::For(RETRY_PAUSE)));
                }
                push(loaded, events, JournalEvent::Started);
                check_limits(loaded, events);
            }
            Command::Act {
                step,
                direction,
                attempt,
            } => {
                push(
                    loaded,
                    events,
                    JournalEvent::Intended {
                        step,
                        direction,
                        attempt,
                    },
                );
                return Ok(Then::Act(named(step, direction, attempt)));
            }
            Command::Probe {
                step,
                direction,
                attempt,
            } => {
                return Ok(Then::Probe(named(step, direction, attempt)));
            }
            Command::Look => return Ok(look_or_wait(loaded, events)),
            Command::Wait => return Ok(Then::Pause(Pause::For(SUSPENDED_PAUSE))),
            Command::Finish(_) => {
                store::release_targets(tx, id).await?;
                return Ok(Then::Pause(Pause::Over));
            }
        }
    }
}

fn look_or_wait(loaded: &Loaded, events: &[JournalEvent]) -> Then {
    let verification = &loaded.doc.verification;
    if events
        .iter()
        .any(|event| matches!(event, JournalEvent::Looked { .. }))
    {
        return Then::Pause(Pause::For(Duration::from_secs(u64::from(
            verification.interval_secs.max(1),
        ))));
    }
    let Some(since) = loaded.verifying_since else {
        // Verification begins with this commit; the clock starts there.
        return Then::Pause(Pause::For(Duration::from_secs(u64::from(
            verification.settle_secs,
        ))));
    };
    let first = since + TimeDelta::seconds(i64::from(verification.settle_secs));
    let passed = (loaded.now - first).num_milliseconds();
    if passed < 0 {
        return Then::Pause(Pause::For(Duration::from_millis(passed.unsigned_abs())));
    }
    Then::Look
}

/// Tells people and the audit log what changed with this commit.
async fn tell(tx: &mut Tx, ctx: &OpCtx, loaded: &Loaded, before: &State) -> Result<(), Error> {
    let (id, now) = (loaded.execution_id, &loaded.state);
    if now.phase == before.phase {
        return Ok(());
    }
    let action = match now.phase {
        Phase::Pending | Phase::Annotating => return Ok(()),
        Phase::Forward => "execution.start",
        Phase::Verifying => "execution.verify",
        Phase::RollingBack => "execution.turn_back",
        Phase::Attention => "execution.needs_attention",
        Phase::Ended => "execution.finish",
    };
    let reason = now.reason.clone().unwrap_or_default();
    let event = audit::Event::new(action, json!({ "status": now.status(), "reason": reason }));
    audit::record(
        tx,
        ctx,
        event.subject(id.uuid()).plan(loaded.doc.plan_id).execution(id),
    )
    .await?;
    if now.phase == Phase::Ended {
        metrics::counter!("carapulse_execution_ended_total", "outcome" => now.status()).increment(1);
    }
    match (now.phase, now.status()) {
        (Phase::Attention, _) => page(tx, ctx, id, Kind::NeedsAttention, &reason).await,
        (Phase::Ended, "rollback_failed") => page(tx, ctx, id, Kind::RollbackFailed, &reason).await,
        _ => Ok(()),
    }
}

async fn page(tx: &mut Tx, ctx: &OpCtx, id: ExecutionId, kind: Kind, why: &str) -> Result<(), Error> {
    let note = Notification {
        kind,
        severity: Severity::Page,
        subject: format!("{id}: {} ({why})", kind.as_str().replace('_', " ")),
        body: json!({ "execution_id": id, "reason": why }),
        dedupe_key: format!("{}:{id}:{why}", kind.as_str()),
    };
    notify::send(tx, ctx, note).await?;
    Ok(())
}

fn push(loaded: &mut Loaded, events: &mut Vec<JournalEvent>, event: JournalEvent) {
    match apply(&loaded.shape, loaded.state.clone(), &event) {
        Ok(state) => {
            loaded.state = state;
            events.push(event);
        }
        // A report that another holder of the lease has journalled already.
        Err(illegal) => tracing::debug!(%illegal, ?event, "an event came too late"),
    }
}

fn running(state: &State) -> bool {
    let is = |status| status == RunStatus::Running;
    state
        .steps
        .iter()
        .any(|step| is(step.forward.status) || is(step.rollback.status))
}
