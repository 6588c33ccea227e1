//! What policy is asked. These types are the schema of the rules' input (`policies/schema/input.json`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    Actor, ActorKind, EffectKind, Guard, PersonId, Risk, Role, Target, TargetMode, TenantId, Tier,
    plan::{Inverse, PlanDoc, Stage, Step},
};

/// One question to policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What is asked for.
    pub action: ActionInput,
    /// Who asks.
    pub actor: ActorInput,
    /// Whose rows are concerned.
    pub tenant: TenantId,
    /// Where it would happen.
    pub target: TargetInput,
    /// All steps of the plan, in order; empty for reads outside of a plan.
    pub steps: Vec<StepInput>,
    /// The step being acted on or undone; none while planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// How dangerous the caller says it is; the rules check it against the steps.
    pub risk: RiskInput,
    /// Facts of the moment.
    pub flags: FlagsInput,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionInput {
    /// Name of the request (`plan.create`, `tool.act`).
    pub name: String,
    /// Whether the steps that the decision is about write.
    pub kind: ActionKind,
    /// When in a plan's life.
    pub phase: Phase,
}

/// Whether something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Looks.
    Read,
    /// Changes.
    Write,
}

/// When in a plan's life policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before anybody is asked for approval.
    Plan,
    /// Just before a forward act.
    Act,
    /// Just before an inverse that was part of what was approved.
    Rollback,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorInput {
    /// What stands behind the actor.
    pub kind: ActorKind,
    /// Shown name.
    pub name: String,
    /// What the token allows.
    pub role: Role,
    /// The actor's own tenant.
    pub tenant: TenantId,
    /// The human being, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_id: Option<PersonId>,
}

impl ActorInput {
    /// A verified actor of `tenant`.
    #[must_use]
    pub fn of(actor: &Actor, tenant: &TenantId) -> Self {
        Self {
            kind: actor.kind,
            name: actor.name.clone(),
            role: actor.role,
            tenant: tenant.clone(),
            person_id: actor.person_id,
        }
    }
}

/// Where it would happen, from the registered row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetInput {
    /// Name of the target.
    pub name: String,
    /// Tenant of the row.
    pub tenant: String,
    /// `local`, `dev`, `staging`, `prod`; anything else is denied.
    pub environment: String,
    /// How far Carapulse may go there.
    pub mode: TargetMode,
    /// Raises the tier.
    pub protected: bool,
}

impl TargetInput {
    /// The facts of a registered target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            tenant: target.context.tenant_id.clone(),
            environment: target.context.environment.clone(),
            mode: target.mode,
            protected: target.protected,
        }
    }
}

/// One step, as far as rules may know it: no arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepInput {
    /// From 0.
    pub ordinal: u32,
    /// When it runs.
    pub stage: Stage,
    /// Tool of the catalogue.
    pub tool: String,
    /// Action of the tool.
    pub action: String,
    /// Danger of the action.
    pub risk: Risk,
    /// What may be repeated after a crash.
    pub effect: EffectKind,
    /// What stops it when the world has moved.
    pub guard: Guard,
    /// Whether it cannot be undone.
    pub irreversible: bool,
}

impl StepInput {
    /// The facts of one step.
    #[must_use]
    pub fn of(ordinal: u32, step: &Step) -> Self {
        Self {
            ordinal,
            stage: step.stage,
            tool: step.tool.clone(),
            action: step.action.clone(),
            risk: step.risk,
            effect: step.effect,
            guard: step.guard,
            irreversible: matches!(step.inverse, Inverse::Irreversible { .. }),
        }
    }
}

/// How dangerous the caller says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskInput {
    /// Highest risk of the steps.
    pub level: Risk,
    /// Planning: the tier worked out so far. Acting: the tier that was approved.
    pub tier: Tier,
    /// How many objects are touched.
    pub targets: u32,
    /// How far a mistake reaches.
    pub blast_radius: BlastRadius,
}

/// How far a mistake reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlastRadius {
    /// One namespace or one repository.
    Namespace,
    /// A whole cluster.
    Cluster,
    /// A cloud account.
    Account,
}

/// Facts of the moment, computed in Rust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagsInput {
    /// Changes are frozen.
    pub frozen: bool,
    /// The change window is open (true when there is none).
    pub in_window: bool,
    /// An admin broke the glass for this plan.
    pub break_glass: bool,
}

impl Default for FlagsInput {
    /// Not frozen, in the window, glass whole.
    fn default() -> Self {
        Self {
            frozen: false,
            in_window: true,
            break_glass: false,
        }
    }
}

impl Input {
    /// The question about a plan document: the whole of it (`step` none, phase plan) or one step of it.
    ///
    /// The kind follows from the steps that are asked about, the target's facts from the registered row as it is now.
    #[must_use]
    pub fn of_plan(
        doc: &PlanDoc,
        target: &Target,
        actor: &Actor,
        phase: Phase,
        step: Option<u32>,
        flags: FlagsInput,
    ) -> Self {
        let steps: Vec<_> = (0..)
            .zip(&doc.steps)
            .map(|(ordinal, step)| StepInput::of(ordinal, step))
            .collect();
        let asked_about = |input: &&StepInput| phase == Phase::Plan || step == Some(input.ordinal);
        let writes = steps
            .iter()
            .filter(asked_about)
            .any(|step| step.effect != EffectKind::None);
        let (name, kind) = match (phase, writes) {
            (Phase::Plan, true) => ("plan.check", ActionKind::Write),
            (Phase::Plan, false) => ("plan.check", ActionKind::Read),
            (Phase::Act, true) => ("step.act", ActionKind::Write),
            (Phase::Act, false) => ("step.act", ActionKind::Read),
            (Phase::Rollback, true) => ("step.rollback", ActionKind::Write),
            (Phase::Rollback, false) => ("step.rollback", ActionKind::Read),
        };
        Self {
            action: ActionInput {
                name: name.to_owned(),
                kind,
                phase,
            },
            actor: ActorInput::of(actor, &doc.tenant_id),
            tenant: doc.tenant_id.clone(),
            target: TargetInput::of(target),
            risk: RiskInput {
                level: doc.risk,
                tier: doc.tier,
                targets: objects_touched(&doc.steps),
                blast_radius: blast_radius(target),
            },
            steps,
            step,
            flags,
        }
    }
}

/// Each write touches one object; reads count as one in all.
fn objects_touched(steps: &[Step]) -> u32 {
    let writes = steps
        .iter()
        .filter(|step| step.effect != EffectKind::None)
        .count();
    u32::try_from(writes).unwrap_or(u32::MAX).max(1)
}

/// Read from the place itself: what names an account and nothing smaller reaches the account.
fn blast_radius(target: &Target) -> BlastRadius {
    let place = &target.context;
    if !place.namespace.is_empty() || target.git.is_some() && place.cluster_id.is_empty() {
        BlastRadius::Namespace
    } else if place.aws_account_id.is_empty() {
        BlastRadius::Cluster
    } else {
        BlastRadius::Account
    }
}

/// The JSON schema of [`Input`], kept as `policies/schema/input.json`.
#[must_use]
pub fn input_schema() -> Value {
    schemars::schema_for!(Input).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/schema/input.json");
        let text = std::fs::read_to_string(path).expect("policies/schema/input.json");
        let stored: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(stored, input_schema(), "regenerate policies/schema/input.json");
    }
}
