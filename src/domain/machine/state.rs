//! What the machine remembers, and what it must know of the plan.

use serde::{Deserialize, Serialize};

use crate::domain::{
    EffectKind,
    plan::{Inverse, OnUnknown, PlanDoc, Stage},
};

/// Most attempts of one step in one direction.
pub(super) const MAX_ATTEMPTS: u32 = 4;

/// The part of a plan that steers the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// In the plan's order.
    pub steps: Vec<StepShape>,
    /// Consecutive looks that must meet all assertions; 0 when there is nothing to look at.
    pub min_samples: u32,
    /// What an unknown verdict does at the end of the window.
    pub on_unknown: OnUnknown,
}

/// The part of a step that steers the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepShape {
    /// When it runs.
    pub stage: Stage,
    /// What may be repeated after a crash.
    pub effect: EffectKind,
    /// Whether it has an inverse.
    pub reversible: bool,
}

impl Shape {
    /// Reads the shape of a plan.
    #[must_use]
    pub fn of(doc: &PlanDoc) -> Self {
        let steps = doc.steps.iter().map(|step| StepShape {
            stage: step.stage,
            effect: step.effect,
            reversible: matches!(step.inverse, Inverse::Action { .. }),
        });
        let looks = if doc.verification.assertions.is_empty() {
            0
        } else {
            doc.verification.min_samples.max(1)
        };
        Self {
            steps: steps.collect(),
            min_samples: looks,
            on_unknown: doc.verification.on_unknown,
        }
    }
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Created; leases not taken yet.
    Pending,
    /// Diagnose and act steps.
    Forward,
    /// Verify steps, then looks at the assertions.
    Verifying,
    /// Annotate steps, after success was measured.
    Annotating,
    /// Inverses, in reverse order.
    RollingBack,
    /// Suspended for a person.
    Attention,
    /// Over.
    Ended,
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured success.
    Succeeded,
    /// Nothing was changed, or a person abandoned it.
    Failed,
    /// Everything that was changed was changed back.
    RolledBack,
    /// Something that was changed could not be changed back.
    RollbackFailed,
    /// Stopped by a person before anything was changed.
    Cancelled,
}

impl Outcome {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far one direction of one step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not begun, or free to begin another attempt.
    Pending,
    /// An attempt was intended and has not been reported.
    Running,
    /// Took effect.
    Done,
    /// Had no effect.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// One direction of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How far it has come.
    pub status: RunStatus,
    /// Number of the last attempt that was intended; 0 before the first.
    pub attempt: u32,
}

impl Run {
    pub(super) const NEW: Self = Self {
        status: RunStatus::Pending,
        attempt: 0,
    };
}

/// Both directions of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepState {
    /// The step itself.
    pub forward: Run,
    /// Its inverse.
    pub rollback: Run,
}

/// The fold of an execution's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// By ordinal.
    pub steps: Vec<StepState>,
    /// Consecutive looks that met all assertions.
    pub met_in_a_row: u32,
    /// Why it turned back, is suspended or failed: a short, stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A person asked to stop or go back while a step was running: the code to turn back with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_back: Option<String>,
    /// A person asked to stop.
    pub cancelled: bool,
    /// Where a suspended execution goes on when it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_in: Option<Phase>,
}

impl State {
    /// Before the first event.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        Self {
            phase: Phase::Pending,
            outcome: None,
            steps: vec![
                StepState {
                    forward: Run::NEW,
                    rollback: Run::NEW
                };
                shape.steps.len()
            ],
            met_in_a_row: 0,
            reason: None,
            turn_back: None,
            cancelled: false,
            suspended_in: None,
        }
    }

    /// The execution's status in the words of the API and the database.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match (self.phase, self.outcome) {
            (Phase::Ended, Some(outcome)) => outcome.as_str(),
            (Phase::Pending, _) => "pending",
            (Phase::RollingBack, _) => "rolling_back",
            (Phase::Attention, _) => "needs_attention",
            _ => "running",
        }
    }

    /// Ordinals of the steps that changed something, or may have.
    pub(super) fn touched(&self, shape: &Shape) -> Vec<usize> {
        let touched = |(ordinal, step): (usize, &StepState)| {
            let writes = shape.steps[ordinal].effect != EffectKind::None
                && shape.steps[ordinal].stage != Stage::Annotate;
            let changed = matches!(step.forward.status, RunStatus::Done | RunStatus::Unknown);
            (writes && changed).then_some(ordinal)
        };
        self.steps.iter().enumerate().filter_map(touched).collect()
    }
}
