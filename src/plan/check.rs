//! A draft becomes a plan: schemas, target, present state, risk, policy; then its bytes and digest are fixed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Draft, PriorReader, Problem, Rejected,
    problem::Problems,
    secret_scan, tier,
    typed::{self, Typed},
};
use crate::{
    domain::{
        Digest, OpCtx, Target,
        plan::{Constraints, PinnedTarget, PlanDoc, Verification},
    },
    policy::{self, Engine, FlagsInput, Input, Outcome, Phase},
    tools::catalog::Catalog,
};

/// Most steps of a plan.
pub const MAX_STEPS: usize = 50;

/// What a draft is checked against.
pub struct Checks<'a> {
    /// What tools can do.
    pub catalog: &'a Catalog,
    /// The active rules.
    pub engine: &'a Engine,
    /// The registered place.
    pub target: &'a Target,
    /// Reads of the present state.
    pub reader: &'a dyn PriorReader,
    /// Facts of the moment.
    pub flags: FlagsInput,
    /// Workloads (`deployment/checkout`) that something else owns, with the names of the owners (`argocd`, `hpa`), from the
    /// snapshot. A direct change of one is refused: it goes through the owner.
    pub managed: BTreeMap<String, Vec<String>>,
}

/// A plan: every value that execution uses is fixed, and so is its digest. Made by [`check`] only.
#[derive(Debug, Clone)]
pub struct Checked {
    doc: PlanDoc,
    bytes: Vec<u8>,
    digest: Digest,
    input: Input,
    decision: policy::Decision,
}

impl Checked {
    /// What it says.
    #[must_use]
    pub const fn doc(&self) -> &PlanDoc {
        &self.doc
    }

    /// The canonical bytes to store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What an approval will sign.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The exact question that policy was asked.
    #[must_use]
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// What policy said.
    #[must_use]
    pub const fn decision(&self) -> &policy::Decision {
        &self.decision
    }

    /// Whether somebody has to approve it: whatever writes.
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        self.decision.decision != Outcome::Allow || self.doc.writes().next().is_some()
    }
}

/// Checks a draft. All problems of a kind are reported at once; nothing is stored.
pub async fn check(ctx: &OpCtx, draft: Draft, with: &Checks<'_>) -> Result<Checked, Rejected> {
    refuse_unfit(ctx, &draft, with)?;
    let typed = typed::steps(&draft, with).await?;
    let place = place(with.target)?;
    let (mut doc, asked) = document(draft, typed, with, place);
    let input = Input::of_plan(
        &doc,
        with.target,
        &ctx.actor,
        Phase::Plan,
        None,
        with.flags.clone(),
    );
    let decision = with.engine.decide(&input);
    let reject = |problems: Vec<Problem>| {
        Err(Rejected {
            problems,
            decided: Some(Box::new((input.clone(), decision.clone()))),
        })
    };
    if decision.decision == Outcome::Deny {
        let told = decision.violations.iter().map(|violation| Problem {
            pointer: String::new(),
            code: violation.code.clone(),
            message: violation.message.clone(),
        });
        return reject(told.collect());
    }
    doc.tier = doc.tier.max(decision.tier);
    doc.policy_bundle = decision.bundle;
    doc.constraints = narrowed(asked, &decision.constraints);
    if input.risk.targets > doc.constraints.max_targets {
        return reject(vec![Problem {
            pointer: "/limits/max_targets".to_owned(),
            code: "too_many_targets".to_owned(),
            message: format!("{} objects would be touched", input.risk.targets),
        }]);
    }
    match doc.seal() {
        Ok((bytes, digest)) => Ok(Checked {
            doc,
            bytes,
            digest,
            input,
            decision,
        }),
        Err(error) => reject(vec![Problem {
            pointer: String::new(),
            code: "not_canonical".to_owned(),
            message: error.to_string(),
        }]),
    }
}

/// What needs no look at the steps' meaning.
fn refuse_unfit(ctx: &OpCtx, draft: &Draft, with: &Checks<'_>) -> Result<(), Rejected> {
    let mut problems = Problems::default();
    let target = with.target;
    if draft.tenant_id != ctx.tenant || target.context.tenant_id != ctx.tenant.as_str() {
        problems.add("/target", "target_unknown", "no such target");
    }
    if draft.target != target.name {
        problems.add(
            "/target",
            "target_unknown",
            "the draft was made for another target",
        );
    }
    if let Some(lacks) = &draft.lacks {
        problems.add("/intent", "draft_incomplete", lacks.clone());
    } else if draft.steps.is_empty() {
        problems.add("/steps", "no_steps", "a plan has at least one step");
    }
    if draft.steps.len() > MAX_STEPS {
        let message = format!("{} steps: at most {MAX_STEPS} are taken", draft.steps.len());
        problems.add("/steps", "too_many_steps", message);
    }
    for (pointer, text) in [
        ("/summary", Some(&draft.summary)),
        ("/intent", draft.intent.as_ref()),
    ] {
        if text.is_some_and(|text| secret_scan::in_text(text)) {
            problems.add(
                pointer,
                "secret_in_plan",
                "this looks like a secret: a plan never holds one",
            );
        }
    }
    let timing = &draft.timing;
    if timing.window_secs == 0 || timing.window_secs > 86_400 || timing.settle_secs > 86_400 {
        problems.add(
            "/timing",
            "timing",
            "window_secs is from 1, and window and settle time at most a day",
        );
    }
    let looks = u64::from(timing.min_samples.saturating_sub(1)) * u64::from(timing.interval_secs);
    if timing.interval_secs == 0 || timing.min_samples == 0 || looks > u64::from(timing.window_secs) {
        problems.add(
            "/timing",
            "timing",
            "min_samples looks, interval_secs apart, do not fit into window_secs",
        );
    }
    problems.none()
}

/// The document, but for what policy adds; and the limits that were asked for.
fn document(draft: Draft, typed: Typed, with: &Checks<'_>, place: Digest) -> (PlanDoc, super::Limits) {
    let target = with.target;
    let unknown_yet = Constraints {
        max_targets: 0,
        max_duration_secs: 0,
        approval_ttl_secs: 0,
    };
    let doc = PlanDoc {
        plan_id: draft.plan_id,
        tenant_id: draft.tenant_id,
        trigger: draft.trigger,
        incident_id: draft.incident_id,
        summary: draft.summary,
        intent: draft.intent,
        requester: draft.requester,
        editors: draft
            .editors
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        target: PinnedTarget {
            target_id: target.target_id,
            name: target.name.clone(),
            version: target.version,
            context: target.context.clone(),
            place,
        },
        risk: tier::risk_of(&typed.steps),
        tier: tier::tier_of(&typed.steps, target),
        steps: typed.steps,
        verification: Verification {
            settle_secs: draft.timing.settle_secs,
            window_secs: draft.timing.window_secs,
            interval_secs: draft.timing.interval_secs,
            min_samples: draft.timing.min_samples,
            on_unknown: draft.timing.on_unknown,
            assertions: typed.assertions,
        },
        constraints: unknown_yet,
        policy_bundle: with.engine.digest(),
        snapshot: draft.snapshot,
    };
    (doc, draft.limits)
}

/// Where the target is, pinned.
fn place(target: &Target) -> Result<Digest, Rejected> {
    target.place_digest().map_err(|error| Rejected {
        problems: vec![Problem {
            pointer: "/target".to_owned(),
            code: "not_canonical".to_owned(),
            message: error.to_string(),
        }],
        decided: None,
    })
}

/// Policy's limits, or what was asked for where that is stricter.
fn narrowed(asked: super::Limits, policy: &policy::Constraints) -> Constraints {
    let least = |asked: Option<u32>, policy: u32| asked.map_or(policy, |asked| asked.clamp(1, policy.max(1)));
    Constraints {
        max_targets: least(asked.max_targets, policy.max_targets),
        max_duration_secs: least(asked.max_duration_secs, policy.max_duration_secs),
        approval_ttl_secs: least(asked.approval_ttl_secs, policy.approval_ttl_secs),
    }
}
