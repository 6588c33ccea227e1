//! The plan document: what an approver reads, signs, and what alone is executed.
//!
//! A [`PlanDoc`] is stored as its canonical bytes. Its digest covers every value that execution uses; display columns are
//! for search and nothing executes from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CanonicalError, ContextRef, Digest, EffectKind, Guard, IdentityId, IncidentId, PersonId, PlanId, Risk,
    TargetId, TenantId, Tier, canonical,
};

/// Tag of a plan's digest.
pub const DIGEST_TAG: &str = "carapulse.plan";
/// Format version of [`PlanDoc`]. A stored plan of another version is never executed, only checked again.
pub const VERSION: u16 = 1;

/// Everything that an approval covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanDoc {
    /// This plan.
    pub plan_id: PlanId,
    /// Whose plan it is.
    pub tenant_id: TenantId,
    /// What woke the system.
    pub trigger: Trigger,
    /// The incident it answers, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
    /// One line for people.
    pub summary: String,
    /// What was asked, as it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// Who asked. None of them may approve.
    pub requester: Requester,
    /// People who changed the plan since; none of them may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub editors: Vec<PersonId>,
    /// The place, pinned.
    pub target: PinnedTarget,
    /// Highest risk of the steps.
    pub risk: Risk,
    /// Which approval it needs.
    pub tier: Tier,
    /// In the order in which they run.
    pub steps: Vec<Step>,
    /// How success is measured.
    pub verification: Verification,
    /// Limits on the run.
    pub constraints: Constraints,
    /// The policy bundle that decided.
    pub policy_bundle: Digest,
    /// The snapshot that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
}

impl PlanDoc {
    /// The canonical bytes to store, and their digest.
    pub fn seal(&self) -> Result<(Vec<u8>, Digest), CanonicalError> {
        let bytes = canonical::to_bytes(self)?;
        let digest = digest_of(&bytes);
        Ok((bytes, digest))
    }

    /// Reads stored bytes of the present [`VERSION`].
    pub fn open(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::from_bytes(bytes)
    }

    /// The step at `ordinal` (from 0).
    #[must_use]
    pub fn step(&self, ordinal: u32) -> Option<&Step> {
        self.steps.get(usize::try_from(ordinal).ok()?)
    }

    /// Ordinals of the steps that write, in order.
    pub fn writes(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..)
            .zip(&self.steps)
            .filter(|(_, step)| step.effect != EffectKind::None)
            .map(|(ordinal, _)| ordinal)
    }
}

/// The digest of a plan's stored bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(DIGEST_TAG, VERSION, bytes)
}

/// What woke the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person or a service asked.
    Manual,
    /// An alert.
    Alert,
    /// Another webhook.
    Webhook,
    /// A schedule.
    Scheduled,
    /// A named workflow was started.
    Workflow,
}

impl Trigger {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Alert => "alert",
            Self::Webhook => "webhook",
            Self::Scheduled => "scheduled",
            Self::Workflow => "workflow",
        }
    }
}

/// Who asked for a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// Name shown to people.
    pub name: String,
    /// The human being behind it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_id: Option<PersonId>,
    /// The login used, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<IdentityId>,
    /// Owner of the token used, when that is a service token: excluded from approving, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_owner_person_id: Option<PersonId>,
}

/// A target as it was when the plan was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedTarget {
    /// The row.
    pub target_id: TargetId,
    /// Its name then.
    pub name: String,
    /// Its version then; a later one voids the plan.
    pub version: i64,
    /// Where it is.
    pub context: ContextRef,
    /// Digest of every address by which it is reached then ([`Target::place_digest`](super::Target::place_digest)):
    /// neither an act nor its inverse goes anywhere else.
    pub place: Digest,
}

/// Stages run in this order; within a stage, steps run in the plan's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Looks before anything is touched.
    Diagnose,
    /// Changes something.
    Act,
    /// Looks afterwards.
    Verify,
    /// Tells others (annotations).
    Annotate,
}

impl Stage {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Diagnose => "diagnose",
            Self::Act => "act",
            Self::Verify => "verify",
            Self::Annotate => "annotate",
        }
    }
}

/// Arguments of a tool action, checked against the catalogue's schema. Values are strings, integers, booleans or lists of strings.
pub type Args = BTreeMap<String, serde_json::Value>;

/// One call of one tool action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When it runs.
    pub stage: Stage,
    /// Tool of the catalogue (`kubectl`).
    pub tool: String,
    /// Action of the tool (`scale`).
    pub action: String,
    /// Semantic digest of the action's definition when the plan was checked.
    pub action_digest: Digest,
    /// The checked arguments.
    pub args: Args,
    /// Why this step, in one line.
    pub reason: String,
    /// Danger of the action.
    pub risk: Risk,
    /// What may be repeated after a crash.
    pub effect: EffectKind,
    /// What stops it when the world has moved.
    pub guard: Guard,
    /// State of the world that the approver saw and that the act requires: capture name → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expected_prior: BTreeMap<String, String>,
    /// How it is undone.
    pub inverse: Inverse,
    /// Must hold just before the act, each a read and a comparison.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preconditions: Vec<Assertion>,
    /// Evidence kinds that must exist before the plan can succeed (`promql`, `git`, `k8s`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence_required: Vec<String>,
    /// Hard limit of one attempt.
    pub timeout_secs: u32,
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "kind")]
pub enum Inverse {
    /// A read: nothing to undo.
    None,
    /// Another action. A string argument `$prior.NAME` or `$result.NAME` is replaced by what the attempt captured.
    Action {
        /// Tool of the catalogue.
        tool: String,
        /// Action of the tool.
        action: String,
        /// Semantic digest of that action.
        action_digest: Digest,
        /// Argument templates.
        args: Args,
    },
    /// Cannot be undone; raises the tier.
    Irreversible {
        /// Why.
        reason: String,
    },
}

/// A read and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Unique in its list; shown in verdicts.
    pub name: String,
    /// Tool of the catalogue; the action must be a read.
    pub tool: String,
    /// Action of the tool.
    pub action: String,
    /// Semantic digest of that action.
    pub action_digest: Digest,
    /// The checked arguments.
    pub args: Args,
    /// JSON pointer into the action's structured answer; every number or string found there is a sample.
    pub pointer: String,
    /// How each sample is compared.
    pub op: Comparison,
    /// Right-hand side: a decimal number for order, any string for equality.
    pub value: String,
    /// Kind of evidence that the answer is (`promql`, `k8s`, `git`).
    pub evidence_kind: String,
}

/// A comparison of a sample with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Equal as text, or as numbers when both are.
    Eq,
    /// Not equal.
    Ne,
    /// Less than.
    Lt,
    /// Less or equal.
    Le,
    /// Greater than.
    Gt,
    /// Greater or equal.
    Ge,
}

/// How success is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// Wait after the last act before the first sample.
    pub settle_secs: u32,
    /// All assertions must be met at some point in this window after settling.
    pub window_secs: u32,
    /// Pause between two looks.
    pub interval_secs: u32,
    /// Consecutive looks that must meet all assertions.
    pub min_samples: u32,
    /// What an unknown verdict does at the end of the window.
    pub on_unknown: OnUnknown,
    /// What must hold. A plan that writes has at least one.
    pub assertions: Vec<Assertion>,
}

/// What an unknown verdict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Suspends the execution for a person.
    Hold,
    /// Rolls back.
    Rollback,
}

/// Limits on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// Most objects that may be touched.
    pub max_targets: u32,
    /// From the start to the last forward act.
    pub max_duration_secs: u32,
    /// How long an approval is good for.
    pub approval_ttl_secs: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Tier` and `Digest` take part in the digest: a change of a wire word must raise [`VERSION`].
    #[test]
    fn wire_words_are_frozen() {
        let words = serde_json::to_string(&(
            [Stage::Diagnose, Stage::Act, Stage::Verify, Stage::Annotate],
            [
                Comparison::Eq,
                Comparison::Ne,
                Comparison::Lt,
                Comparison::Le,
                Comparison::Gt,
                Comparison::Ge,
            ],
            [Risk::Read, Risk::Low, Risk::Medium, Risk::High],
            [Tier::Read, Tier::Standard, Tier::Elevated],
            [
                EffectKind::None,
                EffectKind::Converge,
                EffectKind::Keyed,
                EffectKind::Marked,
                EffectKind::Opaque,
            ],
            [Guard::Native, Guard::Checked, Guard::None],
            [OnUnknown::Hold, OnUnknown::Rollback],
        ));
        assert_eq!(
            words.expect("JSON"),
            r#"[["diagnose","act","verify","annotate"],["eq","ne","lt","le","gt","ge"],["read","low","medium","high"],["read","standard","elevated"],["none","converge","keyed","marked","opaque"],["native","checked","none"],["hold","rollback"]]"#
        );
    }
}
