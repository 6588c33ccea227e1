//! Proof that an act belongs to an approved plan: reloaded, recomputed and asked again at the moment of the act.
//!
//! In: an [`ActRef`], which names an act and describes nothing, and a transaction of the router's database role. Out: a
//! [`Warrant`], the only value from which the argument vector of a write can be made; or a [`Refusal`] with a stable code.
//! Always holds: everything in a warrant was derived from the plan's stored bytes, whose recomputed digest a trusted key has
//! signed; any mismatch, reuse or missing value refuses; nothing is skipped when blank; whatever the journal gives as a reason has a
//! ground that its writer cannot write. Compensation was part of what was approved: freeze, windows, duration and target changes stop
//! forward acts only.
//! Not here: running anything (tools), who may approve (approval), signing (approval).

mod approved;
mod derive;
mod gates;
mod grounds;
mod journal;
mod look;
pub mod statement;
mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        Digest, EffectKind, OpCtx, PlanId, Risk, Target,
        plan::{Args, Assertion, PlanDoc, Step},
        run::{ActRef, Captured, Direction},
    },
    policy,
    store::Tx,
};
use store::Rows;

pub use gates::refused_event;
pub use look::{Looking, looking};
pub use statement::{ApprovalKeys, Signed, Statement, StatementError};

/// Code of the row that a probe leaves where it found no attempt: only a holder of its epoch or a newer one may claim it.
pub const FENCED: &str = "fenced";

/// Code of an attempt that ended without effect, as a probe saw it.
pub const NOT_DONE: &str = "not_done";

/// What the router knows of the live definition of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveAction {
    /// Its semantic digest now.
    pub digest: Digest,
    /// Its danger now.
    pub risk: Risk,
    /// Its effect kind now.
    pub effect: EffectKind,
    /// Hard limit of one run.
    pub timeout_secs: u32,
}

/// What is asked besides stored rows.
pub struct Live<'a> {
    /// Who acts on whose behalf: the system's own context.
    pub ctx: &'a OpCtx,
    /// The active policy.
    pub engine: &'a policy::Engine,
    /// The live definition of a tool's action; `None` when there is none any more.
    pub action: &'a (dyn Fn(&str, &str) -> Option<LiveAction> + Sync),
}

/// A refused act. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Short and stable.
    pub code: &'static str,
    /// One line for people.
    pub message: String,
    /// The journal intends this attempt, and the refusal is its end: it is to be stored as that.
    pub ends_attempt: bool,
    /// Another attempt may help.
    pub retryable: bool,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            ends_attempt: false,
            retryable: false,
        }
    }

    fn of_the_attempt(self) -> Self {
        Self {
            ends_attempt: true,
            ..self
        }
    }

    fn retryable(self) -> Self {
        Self {
            retryable: true,
            ..self
        }
    }
}

/// Why there is no warrant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A gate said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This very attempt was claimed before: its row says what became of it.
    #[error("the attempt was claimed before")]
    Claimed,
    /// The database could not be asked. Nothing was decided.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The policy's decision could not be stored. Nothing was decided.
    #[error(transparent)]
    Policy(#[from] policy::store::Error),
}

/// What an attempt answered, as its row keeps it: canonical bytes of this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Values read from the output, or by a probe.
    pub values: Captured,
    /// Exit code of the last command that ran, when it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Wall-clock time of all commands.
    pub duration_ms: u64,
    /// Output was dropped.
    pub truncated: bool,
    /// It was found by a probe, not reported by the act.
    pub probed: bool,
    /// Another attempt may help.
    pub retryable: bool,
}

/// Proof that one attempt of one step may act now. Cannot be copied, stored or made elsewhere.
#[derive(Debug)]
pub struct Warrant {
    act: ActRef,
    plan_id: PlanId,
    tool: String,
    action: String,
    args: Args,
    effect: EffectKind,
    expected_prior: BTreeMap<String, String>,
    preconditions: Vec<Assertion>,
    target: Target,
    nonce: Uuid,
    now: DateTime<Utc>,
    timeout_secs: u32,
    forward: Forward,
    undoes: Option<Step>,
}

/// What the forward attempt captured and answered; empty for a forward act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Forward {
    /// Captured before it acted.
    prior: Captured,
    /// Read from its answer.
    result: Captured,
}

impl Warrant {
    /// The attempt.
    #[must_use]
    pub const fn act(&self) -> &ActRef {
        &self.act
    }

    /// The plan it belongs to.
    #[must_use]
    pub const fn plan_id(&self) -> PlanId {
        self.plan_id
    }

    /// Tool and action; for a rollback, those of the inverse.
    #[must_use]
    pub fn action(&self) -> (&str, &str) {
        (&self.tool, &self.action)
    }

    /// The arguments; for a rollback, derived from what the forward attempt captured (and then text).
    #[must_use]
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// What may be repeated.
    #[must_use]
    pub const fn effect(&self) -> EffectKind {
        self.effect
    }

    /// What the approver saw and the act requires.
    #[must_use]
    pub const fn expected_prior(&self) -> &BTreeMap<String, String> {
        &self.expected_prior
    }

    /// What must hold just before a forward act.
    #[must_use]
    pub fn preconditions(&self) -> &[Assertion] {
        &self.preconditions
    }

    /// The registered place, as it is now.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Made for this attempt, stored before it acts.
    #[must_use]
    pub const fn nonce(&self) -> Uuid {
        self.nonce
    }

    /// Database time at which it was issued.
    #[must_use]
    pub const fn issued_at(&self) -> DateTime<Utc> {
        self.now
    }

    /// Hard limit of the act itself.
    #[must_use]
    pub const fn timeout_secs(&self) -> u32 {
        self.timeout_secs
    }

    /// For a rollback: the step that is undone.
    #[must_use]
    pub const fn undoes(&self) -> Option<&Step> {
        self.undoes.as_ref()
    }

    /// The value that `$prior.NAME` or `$result.NAME` of the forward attempt stands for.
    pub fn left_behind(&self, template: &str) -> Result<String, Refusal> {
        derive::resolve(template, &self.forward)
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.effect != EffectKind::None
    }
}

/// Issues the warrant for `act`, or says why not. `tx` is of the router's role and bound to the act's tenant; it holds the
/// execution's lock until it ends, so that the caller's claim in the same transaction is the only one.
pub async fn issue(
    tx: &mut Tx,
    keys: &ApprovalKeys,
    live: &Live<'_>,
    act: &ActRef,
) -> Result<Warrant, Error> {
    if tx.tenant() != Some(&act.tenant_id) || live.ctx.tenant != act.tenant_id {
        return Err(Refusal::new("tenant_mismatch", "the transaction is not the tenant's").into());
    }
    store::lock_execution(tx, act.execution_id).await?;
    let rows = store::load(tx, act.execution_id).await?;
    if rows.attempts.iter().any(|a| a.is(act) && !a.fenced) {
        return Err(Error::Claimed);
    }
    let doc = approved::plan(&rows)?;
    journal::check(&rows, &doc, act)?;
    // From here on it is this attempt that is refused, and by nothing that could be otherwise for a later lease.
    issue_intended(tx, keys, live, act, &rows, &doc)
        .await
        .map_err(|error| match error {
            Error::Refused(refusal) => Error::Refused(refusal.of_the_attempt()),
            other => other,
        })
}

async fn issue_intended(
    tx: &mut Tx,
    keys: &ApprovalKeys,
    live: &Live<'_>,
    act: &ActRef,
    rows: &Rows,
    doc: &PlanDoc,
) -> Result<Warrant, Error> {
    let step = doc
        .step(act.step)
        .ok_or_else(|| Refusal::new("step_unknown", "the plan has no such step"))?;
    let derived = derive::call(rows, act, step, live)?;
    let writes = derived.effect != EffectKind::None || step.effect != EffectKind::None;
    let approved_tier = approved::approval(rows, keys, doc, writes, act.direction)?;
    let target = gates::check(rows, act, doc, writes)?;
    gates::policy(tx, live, act, doc, &target, approved_tier).await?;
    let forward_act = act.direction == Direction::Forward;
    Ok(Warrant {
        act: act.clone(),
        plan_id: doc.plan_id,
        tool: derived.tool,
        action: derived.action,
        args: derived.args,
        effect: derived.effect,
        expected_prior: if forward_act {
            step.expected_prior.clone()
        } else {
            BTreeMap::new()
        },
        preconditions: if forward_act {
            step.preconditions.clone()
        } else {
            Vec::new()
        },
        target,
        nonce: live.ctx.id(),
        now: rows.now,
        timeout_secs: derived.timeout_secs,
        forward: derived.forward,
        undoes: (!forward_act).then(|| step.clone()),
    })
}

/// A call that an act names: for looking at what became of it, never for doing it.
#[derive(Debug, Clone)]
pub struct Named {
    /// Tool of the catalogue.
    pub tool: String,
    /// Action of the tool; for a rollback, the inverse's.
    pub action: String,
    /// Its arguments.
    pub args: Args,
    /// Where.
    pub target: Target,
}

/// Names the call behind `act`, from the plan's checked bytes. Asks no gate and proves nothing.
pub async fn describe(tx: &mut Tx, live: &Live<'_>, act: &ActRef) -> Result<Named, Error> {
    let rows = store::load(tx, act.execution_id).await?;
    let doc = approved::plan(&rows)?;
    let step = doc
        .step(act.step)
        .ok_or_else(|| Refusal::new("step_unknown", "the plan has no such step"))?;
    let derived = derive::call(&rows, act, step, live)?;
    let target = gates::target(&rows, &doc)?;
    Ok(Named {
        tool: derived.tool,
        action: derived.action,
        args: derived.args,
        target,
    })
}

/// Holds the execution's lock until the transaction ends: nobody claims an attempt of it meanwhile.
pub async fn lock(tx: &mut Tx, act: &ActRef) -> Result<(), crate::store::Error> {
    store::lock_execution(tx, act.execution_id).await
}

/// `start` plus `secs`, for comparisons with database time.
fn after(start: DateTime<Utc>, secs: u32) -> DateTime<Utc> {
    start + TimeDelta::seconds(i64::from(secs))
}
