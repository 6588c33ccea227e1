//! What a state asks for.

use super::{Outcome, Phase, Run, RunStatus, Shape, State};
use crate::domain::{plan::Stage, run::Direction};

/// The one thing to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Take the target's lease and journal `Started`.
    Start,
    /// Journal `Intended`, then send this attempt to the tool-router.
    Act {
        /// Ordinal of the step.
        step: u32,
        /// Which way.
        direction: Direction,
        /// From 1.
        attempt: u32,
    },
    /// An attempt was intended and its report is missing: ask the tool-router what became of it.
    Probe {
        /// Ordinal of the step.
        step: u32,
        /// Which way.
        direction: Direction,
        /// From 1.
        attempt: u32,
    },
    /// Look at the assertions once, when settle time and interval allow.
    Look,
    /// A person has to say.
    Wait,
    /// Release everything; it is over.
    Finish(Outcome),
}

/// What `state` asks for.
#[must_use]
pub fn next(shape: &Shape, state: &State) -> Command {
    match state.phase {
        Phase::Pending => Command::Start,
        Phase::Forward => step_of(state, shape, &[Stage::Diagnose, Stage::Act]).unwrap_or(Command::Look),
        Phase::Verifying => step_of(state, shape, &[Stage::Verify]).unwrap_or(Command::Look),
        Phase::Annotating => {
            step_of(state, shape, &[Stage::Annotate]).unwrap_or(Command::Finish(Outcome::Succeeded))
        }
        Phase::RollingBack => rollback(state, shape),
        Phase::Attention => Command::Wait,
        Phase::Ended => Command::Finish(state.outcome.unwrap_or(Outcome::Failed)),
    }
}

fn step_of(state: &State, shape: &Shape, stages: &[Stage]) -> Option<Command> {
    let open = |(ordinal, step): (usize, &super::StepState)| {
        stages
            .contains(&shape.steps[ordinal].stage)
            .then(|| command(ordinal, Direction::Forward, step.forward))
            .flatten()
    };
    state.steps.iter().enumerate().find_map(open)
}

fn rollback(state: &State, shape: &Shape) -> Command {
    let open = |ordinal: usize| {
        let reversible = shape.steps[ordinal].reversible;
        reversible
            .then(|| command(ordinal, Direction::Rollback, state.steps[ordinal].rollback))
            .flatten()
    };
    let touched = state.touched(shape);
    touched
        .iter()
        .rev()
        .copied()
        .find_map(open)
        .unwrap_or_else(|| Command::Finish(after_rollback(state, shape, &touched)))
}

fn after_rollback(state: &State, shape: &Shape, touched: &[usize]) -> Outcome {
    if touched.is_empty() {
        return if state.cancelled {
            Outcome::Cancelled
        } else {
            Outcome::Failed
        };
    }
    let undone = |ordinal: &usize| {
        shape.steps[*ordinal].reversible && state.steps[*ordinal].rollback.status == RunStatus::Done
    };
    if touched.iter().all(undone) {
        Outcome::RolledBack
    } else {
        Outcome::RollbackFailed
    }
}

fn command(ordinal: usize, direction: Direction, run: Run) -> Option<Command> {
    let step = u32::try_from(ordinal).expect("a plan has few steps");
    match run.status {
        RunStatus::Pending => Some(Command::Act {
            step,
            direction,
            attempt: run.attempt + 1,
        }),
        RunStatus::Running => Some(Command::Probe {
            step,
            direction,
            attempt: run.attempt,
        }),
        RunStatus::Done | RunStatus::Failed | RunStatus::Unknown => None,
    }
}
