//! One act: warrant and claim, capture, do, record. The claim is committed before anything is done; a result that cannot be
//! stored never makes the act run again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ClientError, Fault, Router, argv,
    catalog::{ActionDef, Values, text_values},
    fault::FaultKind,
    output::{self, Chunk},
    prepare::Prepared,
    read, router, run,
    store::{self, End},
};
use crate::{
    audit,
    domain::{
        EffectKind, OpCtx,
        plan::Args,
        run::{ActRef, ActReport, AttemptStatus, Captured},
    },
    sandbox::{CommandOutcome, Exit},
    store::crash,
    warrant::{self, Answer, Live, Warrant},
};

/// For preconditions, captures and waiting for a place, on top of the act's own limit.
const PREPARE_SECS: u32 = 120;
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// What became of the act itself.
pub(super) struct Done {
    pub(super) end: End,
    pub(super) log: Vec<Chunk>,
}

/// The act ran, or may have run, and nobody knows how it ended: a probe will say.
struct Unclear(Fault);

impl Router {
    /// Acts once. The same [`ActRef`] sent again gets the stored report, or [`ClientError::StillRunning`].
    pub async fn act(self: &Arc<Self>, act: &ActRef) -> Result<ActReport, ClientError> {
        let ctx = OpCtx::system("router", act.tenant_id.clone());
        self.gate.check_clock().map_err(unavailable)?;
        let warrant = match self.claim(&ctx, act).await? {
            Claim::Granted(warrant) => *warrant,
            Claim::Refused(report) => return Ok(report),
            Claim::Taken => return self.stored_report(&ctx, act).await,
        };
        let acting = self.begin_acting(act);
        crash::point("router.after_claim");
        // Its own task: a caller that goes away must not stop an act half-way.
        let router = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let _acting = acting;
            router.carry_out(&ctx, warrant).await
        });
        task.await
            .map_err(|e| ClientError::Unavailable(format!("the act's task ended: {e}")))?
    }

    async fn claim(&self, ctx: &OpCtx, act: &ActRef) -> Result<Claim, ClientError> {
        let mut tx = self.db.begin(&act.tenant_id).await?;
        let action = |tool: &str, action: &str| self.live_action(tool, action);
        let live = Live {
            ctx,
            engine: &self.engine,
            action: &action,
        };
        let warrant = match warrant::issue(&mut tx, &self.keys.get(), &live, act).await {
            Ok(warrant) => warrant,
            Err(warrant::Error::Claimed) => return Ok(Claim::Taken),
            Err(warrant::Error::Refused(refusal)) => {
                // Kept with the policy decision that led to it: this transaction has changed nothing else.
                audit::record(&mut tx, ctx, warrant::refused_event(act, &refusal))
                    .await
                    .map_err(unavailable)?;
                if refusal.ends_attempt {
                    // The journal may give it as a reason to go back: then this row must be there.
                    store::refuse(&mut tx, ctx, act, &refusal, self.router_id).await?;
                }
                tx.commit().await?;
                tracing::warn!(execution = %act.execution_id, step = act.step, code = refusal.code, "act refused");
                return Ok(Claim::Refused(ActReport {
                    status: AttemptStatus::Refused,
                    code: Some(refusal.code.to_owned()),
                    message: Some(refusal.message),
                    retryable: refusal.retryable,
                }));
            }
            Err(error) => return Err(unavailable(error)),
        };
        let total = warrant.timeout_secs().saturating_add(PREPARE_SECS);
        if !store::claim(&mut tx, &warrant, self.router_id, router::ALIVE_SECS, total).await? {
            return Ok(Claim::Taken);
        }
        crash::point("router.before_claim");
        tx.commit().await?;
        Ok(Claim::Granted(Box::new(warrant)))
    }

    /// What the row says of an attempt that was claimed before.
    pub(super) async fn stored_report(&self, ctx: &OpCtx, act: &ActRef) -> Result<ActReport, ClientError> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let attempt = store::find(&mut tx, act).await?;
        tx.commit().await?;
        let attempt = attempt.ok_or(ClientError::StillRunning)?;
        let status = attempt.ended().ok_or(ClientError::StillRunning)?;
        let retryable = attempt.answer.is_some_and(|answer| answer.retryable);
        Ok(ActReport {
            status,
            code: attempt.error_code,
            message: attempt.error,
            retryable,
        })
    }

    async fn carry_out(&self, ctx: &OpCtx, warrant: Warrant) -> Result<ActReport, ClientError> {
        let began = Instant::now();
        let (tool, action) = warrant.action();
        let def = self.catalog.action(tool, action).cloned();
        let done = match &def {
            None => Ok(ended(Fault::refused(
                "action_unknown",
                format!("{tool}.{action}"),
            ))),
            Some(def) => tokio::select! {
                done = self.perform(ctx, &warrant, def) => done,
                lost = self.beat(ctx, &warrant) => Err(Unclear(lost)),
            },
        };
        crash::point("router.after_act");
        let outcome = done.as_ref().map_or("unclear", |done| done.end.status.as_str());
        if let Some(def) = &def {
            router::measure(def, outcome, began);
        }
        match done {
            Ok(done) => self.record(ctx, &warrant, done).await,
            Err(Unclear(fault)) => {
                tracing::error!(execution = %warrant.act().execution_id, %fault, "an act's end is not known: it will be probed");
                Err(ClientError::Unavailable(fault.to_string()))
            }
        }
    }

    /// Signs of life while the act runs. Ends when the claim is lost, or cannot be kept: whatever runs is then stopped.
    async fn beat(&self, ctx: &OpCtx, warrant: &Warrant) -> Fault {
        let mut alive = Instant::now();
        let total = Duration::from_secs(u64::from(warrant.timeout_secs().saturating_add(PREPARE_SECS)));
        let began = Instant::now();
        loop {
            tokio::time::sleep(BEAT).await;
            if began.elapsed() > total {
                return Fault::unclear("deadline", "the attempt's deadline has passed");
            }
            let renewed = async {
                let mut tx = self.db.begin(&ctx.tenant).await?;
                let ours = store::renew(&mut tx, warrant.act(), warrant.nonce(), router::ALIVE_SECS).await?;
                tx.commit().await?;
                Ok::<_, crate::store::Error>(ours)
            };
            let sent = Instant::now();
            match tokio::time::timeout(BEAT * 5, renewed).await {
                Ok(Ok(true)) => alive = sent,
                Ok(Ok(false)) => {
                    return Fault::unclear("claim_lost", "the attempt is no longer this router's");
                }
                Ok(Err(error)) => tracing::warn!(%error, "no sign of life could be stored"),
                Err(_) => tracing::warn!("no sign of life could be stored in time"),
            }
            if alive.elapsed() > Duration::from_secs(u64::from(router::ALIVE_SECS)) - BEAT * 6 {
                return Fault::unclear("claim_lost", "no sign of life could be stored");
            }
        }
    }

    async fn perform(&self, ctx: &OpCtx, warrant: &Warrant, def: &ActionDef) -> Result<Done, Unclear> {
        let prepared = match self.prepare(ctx, warrant, def).await {
            Ok(prepared) => prepared,
            Err(fault) => return Ok(ended(fault)),
        };
        if let Some(values) = prepared.already {
            return Ok(done(
                Answer {
                    values,
                    probed: true,
                    ..Answer::default()
                },
                Vec::new(),
            ));
        }
        crash::point("router.before_act");
        if !warrant.writes() {
            return Ok(self.perform_read(ctx, warrant, def, &prepared.args).await);
        }
        let ran = self.run_write(ctx, warrant, def, &prepared).await;
        self.judge_write(ctx, warrant, def, &prepared, ran).await
    }

    /// A step of a plan that only reads.
    async fn perform_read(&self, ctx: &OpCtx, warrant: &Warrant, def: &ActionDef, args: &Args) -> Done {
        match self.run_read(ctx, def, warrant.target(), args).await {
            Err(fault) => ended(fault),
            Ok(answer) => {
                let outcome = CommandOutcome {
                    exit: Exit::Code(0),
                    stdout: answer.text,
                    stderr: String::new(),
                    truncated: false,
                    duration_ms: 0,
                };
                done(Answer::default(), output::chunks(&[outcome]))
            }
        }
    }

    async fn run_write(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        def: &ActionDef,
        prepared: &Prepared,
    ) -> Result<Vec<CommandOutcome>, Fault> {
        let binding = self.bind(ctx, def, warrant.target())?;
        let commands = argv::write(warrant, def, &prepared.args, &binding.values, &prepared.prior)?;
        let values: Values = text_values(&prepared.args).collect();
        let _place = self.places.enter(warrant.target().target_id).await?;
        run::commands(
            &self.runner,
            def,
            warrant.nonce(),
            commands,
            &binding,
            &prepared.args,
            &values,
        )
        .await
    }

    /// Whether the act took effect: by its commands' ends where they say so, else by looking.
    async fn judge_write(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        def: &ActionDef,
        prepared: &Prepared,
        ran: Result<Vec<CommandOutcome>, Fault>,
    ) -> Result<Done, Unclear> {
        let (outcomes, fault) = match ran {
            Ok(outcomes) => match run::failure(def, &outcomes) {
                None => return Ok(done(answer(def, &outcomes), output::chunks(&outcomes))),
                Some((index, fault)) => {
                    let reached = def
                        .spec
                        .commands
                        .iter()
                        .position(|c| c.acts)
                        .is_none_or(|acts| index >= acts);
                    let started = outcomes.get(index).is_none_or(|o| o.exit != Exit::NotStarted);
                    (outcomes, (fault, reached && started))
                }
            },
            Err(fault) => {
                let unclear = fault.kind == FaultKind::Unclear;
                (Vec::new(), (fault, unclear))
            }
        };
        let (fault, may_have_acted) = fault;
        let log = output::chunks(&outcomes);
        let told = answer(def, &outcomes);
        if !may_have_acted {
            return Ok(Done { log, ..ended(fault) });
        }
        match def.effect {
            EffectKind::Opaque => Ok(Done {
                end: end(AttemptStatus::Unknown, fault, told),
                log,
            }),
            EffectKind::None | EffectKind::Keyed => Ok(Done { log, ..ended(fault) }),
            EffectKind::Marked | EffectKind::Converge => {
                let args = &prepared.args;
                match self
                    .look_for(ctx, def, warrant.act(), warrant.target(), args, &prepared.prior)
                    .await
                {
                    Ok(Some(values)) => Ok(done(
                        Answer {
                            values,
                            probed: true,
                            ..told
                        },
                        log,
                    )),
                    Ok(None) => Ok(Done { log, ..ended(fault) }),
                    Err(blind) => Err(Unclear(Fault {
                        message: format!("{fault}; {blind}"),
                        ..fault
                    })),
                }
            }
        }
    }
}

enum Claim {
    Granted(Box<Warrant>),
    Refused(ActReport),
    Taken,
}

fn answer(def: &ActionDef, outcomes: &[CommandOutcome]) -> Answer {
    let mut values = Captured::new();
    for (spec, outcome) in def.spec.commands.iter().zip(outcomes) {
        values.extend(read::extract(&spec.result, |value| {
            value.extract(&outcome.stdout)
        }));
    }
    let exit_code = outcomes.last().and_then(|outcome| match outcome.exit {
        Exit::Code(code) => Some(code),
        _ => None,
    });
    Answer {
        values,
        exit_code,
        duration_ms: outcomes.iter().map(|o| o.duration_ms).sum(),
        truncated: outcomes.iter().any(|o| o.truncated),
        ..Answer::default()
    }
}

fn done(answer: Answer, log: Vec<Chunk>) -> Done {
    Done {
        end: End {
            status: AttemptStatus::Done,
            code: None,
            message: None,
            answer,
        },
        log,
    }
}

/// An end without effect.
fn ended(fault: Fault) -> Done {
    let status = match fault.kind {
        FaultKind::Refused => AttemptStatus::Refused,
        FaultKind::Failed | FaultKind::Unavailable | FaultKind::Unclear => AttemptStatus::Failed,
    };
    let retryable = fault.kind == FaultKind::Unavailable;
    let answer = Answer {
        retryable,
        ..Answer::default()
    };
    Done {
        end: end(status, fault, answer),
        log: Vec::new(),
    }
}

fn end(status: AttemptStatus, fault: Fault, answer: Answer) -> End {
    End {
        status,
        code: Some(fault.code),
        message: Some(fault.message),
        answer,
    }
}

fn unavailable(error: impl std::fmt::Display) -> ClientError {
    ClientError::Unavailable(error.to_string())
}
