//! What must hold, and be stored, before an act: arguments, preconditions, the captured prior state.

use super::{
    Fault, Router, argv,
    catalog::{ActionDef, InverseSpec, Values, text_values},
    read, store,
};
use crate::{
    domain::{
        EffectKind, OpCtx,
        plan::Args,
        run::{Captured, Verdict},
    },
    store::crash,
    warrant::Warrant,
};

/// An act, ready.
pub(super) struct Prepared {
    pub(super) args: Args,
    pub(super) prior: Captured,
    /// An earlier attempt took effect after all: with these values.
    pub(super) already: Option<Captured>,
}

impl Router {
    /// Everything that must hold, and be stored, before the act.
    pub(super) async fn prepare(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        def: &ActionDef,
    ) -> Result<Prepared, Fault> {
        let checked = if warrant.undoes().is_some() {
            def.check_derived_args(warrant.args())
        } else {
            def.check_args(warrant.args())
        };
        let args = checked.map_err(|errors| read::arguments(&errors))?;
        if def.internal {
            return Err(Fault::refused("action_internal", "this action is not for plans"));
        }
        let already = self.already_done(ctx, warrant, def, &args).await?;
        if already.is_some() {
            return Ok(Prepared {
                args,
                prior: Captured::new(),
                already,
            });
        }
        self.preconditions(ctx, warrant).await?;
        let prior = self.run_capture(ctx, def, warrant.target(), &args).await?;
        self.no_drift(warrant, &prior)?;
        crash::point("router.after_capture");
        if !prior.is_empty() {
            let mut tx = self.db.begin(&ctx.tenant).await?;
            if !store::update_prior(&mut tx, warrant.act(), warrant.nonce(), &prior).await? {
                return Err(Fault::refused(
                    "claim_lost",
                    "the attempt is no longer this router's",
                ));
            }
            tx.commit().await?;
            crash::point("router.after_prior");
        }
        Ok(Prepared {
            args,
            prior,
            already: None,
        })
    }

    /// A marked act of an earlier attempt that was thought lost: at most once a step and direction, whatever the attempt.
    async fn already_done(
        &self,
        ctx: &OpCtx,
        warrant: &Warrant,
        def: &ActionDef,
        args: &Args,
    ) -> Result<Option<Captured>, Fault> {
        if def.effect != EffectKind::Marked || warrant.act().attempt == 1 {
            return Ok(None);
        }
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let prior = store::first_prior(&mut tx, warrant.act()).await?;
        tx.commit().await?;
        match prior {
            Some(prior) => {
                self.look_for(ctx, def, warrant.act(), warrant.target(), args, &prior)
                    .await
            }
            None => Ok(None),
        }
    }

    async fn preconditions(&self, ctx: &OpCtx, warrant: &Warrant) -> Result<(), Fault> {
        for assertion in warrant.preconditions() {
            let name = &assertion.name;
            let def = self.catalog.action(&assertion.tool, &assertion.action);
            let def = def.filter(|def| def.digest == assertion.action_digest && !def.internal);
            let def = def.ok_or_else(|| Fault::refused("action_digest", format!("precondition `{name}`")))?;
            let args = def
                .check_args(&assertion.args)
                .map_err(|errors| read::arguments(&errors))?;
            let answer = self.run_read(ctx, def, warrant.target(), &args).await?;
            match super::judge(assertion, &answer.value) {
                Verdict::Met => {}
                Verdict::NotMet => {
                    return Err(Fault::refused("precondition", format!("`{name}` does not hold")));
                }
                Verdict::Unknown => {
                    return Err(Fault::refused(
                        "precondition_unknown",
                        format!("`{name}` cannot be measured"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is there now must be what the approver saw, or what the forward act left.
    fn no_drift(&self, warrant: &Warrant, prior: &Captured) -> Result<(), Fault> {
        let mut expected = warrant.expected_prior().clone();
        if let Some(step) = warrant.undoes()
            && let Some(InverseSpec::Action { expect, .. }) = self
                .catalog
                .action(&step.tool, &step.action)
                .map(|def| &def.inverse)
        {
            let given: Values = text_values(&step.args).collect();
            for (name, text) in expect {
                let value = if text.starts_with('$') {
                    warrant
                        .left_behind(text)
                        .map_err(|r| Fault::refused(r.code, r.message))?
                } else {
                    argv::fill(text, &given)?
                };
                expected.insert(name.clone(), value);
            }
        }
        for (name, value) in &expected {
            let found = prior.get(name);
            if found != Some(value) {
                let found = found.map_or("nothing", String::as_str);
                return Err(Fault::refused(
                    "drifted",
                    format!("`{name}` is `{found}`, expected `{value}`"),
                ));
            }
        }
        Ok(())
    }
}
