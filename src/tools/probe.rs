//! What became of an attempt whose report was lost.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{
    ClientError, Fault, Router, argv,
    catalog::{ActionDef, Values, text_values},
    read, record, router,
    store::{self, Attempt, End},
};
use crate::{
    audit,
    domain::{
        EffectKind, OpCtx, Target,
        plan::Args,
        run::{ActRef, AttemptStatus, Captured, ProbeReport},
    },
    store::crash,
    warrant::{self, Answer, Live, NOT_DONE},
};

/// How long after its deadline an attempt that cannot be looked at stays `running`; then it is `unknown`.
const PATIENCE_SECS: i64 = 600;

impl Router {
    /// Says what became of `act`, and stores it. An attempt that nobody claimed is fenced off first, so that a late request
    /// of an older lease can no longer begin it.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`]: nothing can be said now; ask again.
    pub async fn probe(self: &Arc<Self>, act: &ActRef) -> Result<ProbeReport, ClientError> {
        let ctx = OpCtx::system("router", act.tenant_id.clone());
        let mut tx = self.db.begin(&act.tenant_id).await?;
        warrant::lock(&mut tx, act).await?;
        let attempt = store::find(&mut tx, act).await?;
        let now = tx.db_now().await?;
        let attempt = match attempt {
            Some(attempt) if !attempt.is_fence() => attempt,
            _ => {
                store::fence(&mut tx, &ctx, act, self.router_id).await?;
                crash::point("router.before_fence");
                tx.commit().await?;
                crash::point("router.after_fence");
                return Ok(ProbeReport::NotStarted);
            }
        };
        tx.commit().await?;
        if let Some(report) = stored(&attempt) {
            return Ok(report);
        }
        let dead_at = attempt.alive_until + TimeDelta::seconds(i64::from(router::GRACE_SECS));
        if self.is_acting(act) || now < dead_at || self.runner.running(attempt.nonce).await.unwrap_or(false) {
            return Ok(ProbeReport::Running);
        }
        let gave_up = now > attempt.deadline_at + TimeDelta::seconds(PATIENCE_SECS);
        self.settle(&ctx, act, &attempt, gave_up).await
    }

    /// Looks whether a dead attempt took effect, as its effect kind allows, and stores what was seen.
    async fn settle(
        &self,
        ctx: &OpCtx,
        act: &ActRef,
        attempt: &Attempt,
        gave_up: bool,
    ) -> Result<ProbeReport, ClientError> {
        let call = match self.named_call(ctx, act).await {
            Ok(call) => call,
            Err(fault) if gave_up => {
                return self.store_end(ctx, act, attempt, ("", ""), unknown(fault)).await;
            }
            Err(fault) => return Err(ClientError::Unavailable(fault.to_string())),
        };
        let action = (call.def.tool.as_str(), call.def.action.as_str());
        let end = match (call.def.effect, &attempt.prior) {
            (EffectKind::None | EffectKind::Keyed, _) => not_done("the attempt died"),
            // What is captured is stored before the act: without it, nothing was done.
            (_, None) if call.def.spec.capture.is_some() => not_done("the attempt died before it acted"),
            (EffectKind::Opaque, _) => unknown(Fault::unclear(
                "died",
                "the attempt died, and its effect leaves no trace",
            )),
            (EffectKind::Marked | EffectKind::Converge, prior) => {
                let prior = prior.clone().unwrap_or_default();
                match self
                    .look_for(ctx, &call.def, act, &call.target, &call.args, &prior)
                    .await
                {
                    Ok(Some(values)) => End {
                        status: AttemptStatus::Done,
                        code: None,
                        message: None,
                        answer: Answer {
                            values,
                            probed: true,
                            ..Answer::default()
                        },
                    },
                    Ok(None) => not_done("the attempt died; a probe found no effect"),
                    Err(fault) if gave_up => unknown(fault),
                    Err(fault) => return Err(ClientError::Unavailable(fault.to_string())),
                }
            }
        };
        self.store_end(ctx, act, attempt, action, end).await
    }

    async fn store_end(
        &self,
        ctx: &OpCtx,
        act: &ActRef,
        attempt: &Attempt,
        action: (&str, &str),
        end: End,
    ) -> Result<ProbeReport, ClientError> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let event = record::ended_event(act, action, &end);
        let event = audit::row(&tx, ctx, &event).map_err(|e| ClientError::Unavailable(e.to_string()))?;
        // Another probe may have been first: the row has the last word.
        store::update_ended(&mut tx, act, attempt.nonce, &end, event).await?;
        let settled = store::find(&mut tx, act).await?;
        crash::point("router.before_settle");
        tx.commit().await?;
        crash::point("router.after_settle");
        Ok(settled.as_ref().and_then(stored).unwrap_or(ProbeReport::Running))
    }

    /// The call that an act names, for looking only: no gate is asked, nothing can be done with it.
    async fn named_call(&self, ctx: &OpCtx, act: &ActRef) -> Result<Call, Fault> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let action = |tool: &str, action: &str| self.live_action(tool, action);
        let live = Live {
            ctx,
            engine: &self.engine,
            action: &action,
        };
        let named = warrant::describe(&mut tx, &live, act)
            .await
            .map_err(|error| match error {
                warrant::Error::Refused(refusal) => Fault::refused(refusal.code, refusal.message),
                other => Fault::unavailable("store", other.to_string()),
            })?;
        tx.commit().await?;
        let def = self.catalog.action(&named.tool, &named.action).cloned();
        let def =
            def.ok_or_else(|| Fault::refused("action_unknown", format!("{}.{}", named.tool, named.action)))?;
        let args = def
            .check_derived_args(&named.args)
            .map_err(|errors| read::arguments(&errors))?;
        Ok(Call {
            def,
            args,
            target: named.target,
        })
    }

    /// Runs the action's probe: the values that the act would have answered if it took effect, `None` if it did not.
    pub(super) async fn look_for(
        &self,
        ctx: &OpCtx,
        def: &ActionDef,
        act: &ActRef,
        target: &Target,
        args: &Args,
        prior: &Captured,
    ) -> Result<Option<Captured>, Fault> {
        let spec = def
            .spec
            .probe
            .as_ref()
            .ok_or_else(|| Fault::unclear("no_probe", "the action has no probe"))?;
        let mut values: Values = text_values(args).collect();
        values.extend(
            prior
                .iter()
                .map(|(name, value)| (format!("prior.{name}"), value.clone())),
        );
        values.extend(argv::act_values(act, ""));
        let answer = self
            .internal_read(ctx, def, &spec.read, &spec.args, &values, target)
            .await?;
        for condition in &spec.done {
            if !condition.holds(&answer.value, &argv::fill(&condition.to, &values)?) {
                return Ok(None);
            }
        }
        Ok(Some(read::extract(&spec.values, |value| {
            value.extract_from(&answer.value)
        })))
    }
}

struct Call {
    def: ActionDef,
    args: Args,
    target: Target,
}

fn stored(attempt: &Attempt) -> Option<ProbeReport> {
    Some(match attempt.ended()? {
        AttemptStatus::Done => ProbeReport::Done,
        AttemptStatus::Failed if attempt.error_code.as_deref() == Some(NOT_DONE) => ProbeReport::NotDone,
        AttemptStatus::Failed | AttemptStatus::Refused => ProbeReport::Failed,
        AttemptStatus::Unknown => ProbeReport::Unknown,
    })
}

fn not_done(message: &str) -> End {
    End {
        status: AttemptStatus::Failed,
        code: Some(NOT_DONE.to_owned()),
        message: Some(message.to_owned()),
        answer: Answer {
            retryable: true,
            probed: true,
            ..Answer::default()
        },
    }
}

fn unknown(fault: Fault) -> End {
    End {
        status: AttemptStatus::Unknown,
        code: Some(fault.code),
        message: Some(fault.message),
        answer: Answer {
            probed: true,
            ..Answer::default()
        },
    }
}
