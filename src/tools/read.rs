//! Reads: free of approval, never free of a target.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Fault, ReadError, Router, argv,
    catalog::{ActionDef, Class, ValueSpec, Values, text_values},
    place::Binding,
    run, store,
};
use crate::{
    domain::{Digest, OpCtx, Target, TargetId, plan::Args, run::Captured},
    sandbox::redact::Redactor,
};

/// What a read answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// Structured; what a pointer of an assertion points into.
    pub value: Value,
    /// As the tool printed it, redacted and capped.
    pub text: String,
    /// SHA-256 of the text.
    pub digest: Digest,
}

impl Router {
    /// Reads from a target of the context's tenant.
    pub async fn read(
        &self,
        ctx: &OpCtx,
        target_id: TargetId,
        tool: &str,
        action: &str,
        args: &Args,
    ) -> Result<ReadAnswer, ReadError> {
        let def = self.named(tool, action)?;
        if def.class != Class::Read || def.internal {
            return Err(ReadError::NotARead);
        }
        let args = def.check_args(args).map_err(ReadError::Arguments)?;
        let target = self.target(ctx, target_id).await?;
        Ok(self.run_read(ctx, def, &target, &args).await?)
    }

    /// The values that a write of this kind would capture now: what a plan may put into `expected_prior`.
    pub async fn capture(
        &self,
        ctx: &OpCtx,
        target_id: TargetId,
        tool: &str,
        action: &str,
        args: &Args,
    ) -> Result<Captured, ReadError> {
        let def = self.named(tool, action)?;
        let args = def.check_args(args).map_err(ReadError::Arguments)?;
        let target = self.target(ctx, target_id).await?;
        let captured = self.run_capture(ctx, def, &target, &args).await?;
        Ok(captured
            .into_iter()
            .filter(|(name, _)| def.compared.contains(name))
            .collect())
    }

    fn named(&self, tool: &str, action: &str) -> Result<&ActionDef, ReadError> {
        let unknown = || ReadError::UnknownAction(format!("{tool}.{action}"));
        self.catalog.action(tool, action).ok_or_else(unknown)
    }

    async fn target(&self, ctx: &OpCtx, id: TargetId) -> Result<Target, ReadError> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let found = store::find_target(&mut tx, id).await?;
        tx.commit().await?;
        found
            .filter(|target| target.context.tenant_id == ctx.tenant.as_str())
            .ok_or(ReadError::UnknownTarget)
    }

    /// Runs a read with checked arguments.
    pub(super) async fn run_read(
        &self,
        ctx: &OpCtx,
        def: &ActionDef,
        target: &Target,
        args: &Args,
    ) -> Result<ReadAnswer, Fault> {
        let binding = self.bind(ctx, def, target)?;
        let _place = self.places.enter(target.target_id).await?;
        let began = std::time::Instant::now();
        let answer = self.answer(ctx, def, &binding, args).await;
        let outcome = if answer.is_ok() { "done" } else { "failed" };
        super::router::measure(def, outcome, began);
        let text = answer?;
        let value = def
            .spec
            .output
            .parse(&text)
            .map_err(|e| Fault::failed("unreadable", e.to_string()))?;
        let digest = Digest::of_content(text.as_bytes());
        Ok(ReadAnswer { value, text, digest })
    }

    async fn answer(
        &self,
        ctx: &OpCtx,
        def: &ActionDef,
        binding: &Binding,
        args: &Args,
    ) -> Result<String, Fault> {
        let mut values: Values = binding.values.clone();
        values.extend(text_values(args));
        if let Some(spec) = &def.spec.http {
            let body = run::http(def, spec, binding, args, &values).await?;
            return Ok(Redactor::new().redact_text(&body));
        }
        let commands = argv::read(def, args, &binding.values)?;
        let outcomes = run::commands(&self.runner, def, ctx.id(), commands, binding, args, &values).await?;
        if let Some((_, fault)) = run::failure(def, &outcomes) {
            return Err(fault);
        }
        let last = outcomes.into_iter().next_back();
        let last = last.ok_or_else(|| Fault::failed("no_output", "no command ran"))?;
        if last.truncated {
            return Err(Fault::failed(
                "too_long",
                format!("the answer is longer than {} bytes", def.output_bytes),
            ));
        }
        Ok(last.stdout)
    }

    /// The prior state that `def` captures; a value that must be there and is not, refuses.
    pub(super) async fn run_capture(
        &self,
        ctx: &OpCtx,
        def: &ActionDef,
        target: &Target,
        args: &Args,
    ) -> Result<Captured, Fault> {
        let Some(spec) = &def.spec.capture else {
            return Ok(Captured::new());
        };
        let values: Values = text_values(args).collect();
        let answer = self
            .internal_read(ctx, def, &spec.read, &spec.args, &values, target)
            .await?;
        let mut captured = Captured::new();
        for (name, value) in &spec.values {
            match value.extract_from(&answer.value) {
                Some(found) => drop(captured.insert(name.clone(), found)),
                None if value.optional => {}
                None => {
                    return Err(Fault::refused(
                        "prior_missing",
                        format!("`{name}` is not there to capture"),
                    ));
                }
            }
        }
        Ok(captured)
    }

    /// Runs a read that a definition names, with arguments made of `values`.
    pub(super) async fn internal_read(
        &self,
        ctx: &OpCtx,
        def: &ActionDef,
        read: &str,
        templates: &std::collections::BTreeMap<String, String>,
        values: &Values,
        target: &Target,
    ) -> Result<ReadAnswer, Fault> {
        let reading = self.catalog.action(&def.tool, read);
        let reading =
            reading.ok_or_else(|| Fault::refused("action_unknown", format!("{}.{read}", def.tool)))?;
        let mut args = Args::new();
        for (name, text) in templates {
            args.insert(name.clone(), argv::fill(text, values)?.into());
        }
        let args = reading
            .check_derived_args(&args)
            .map_err(|errors| arguments(&errors))?;
        self.run_read(ctx, reading, target, &args).await
    }
}

/// Values that an answer is to have; those that are not there are left out.
pub(super) fn extract(
    specs: &std::collections::BTreeMap<String, ValueSpec>,
    find: impl Fn(&ValueSpec) -> Option<String>,
) -> Captured {
    specs
        .iter()
        .filter_map(|(name, spec)| find(spec).map(|value| (name.clone(), value)))
        .collect()
}

pub(super) fn arguments(errors: &[super::catalog::ArgError]) -> Fault {
    let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Fault::refused("arguments", all.join("; "))
}
