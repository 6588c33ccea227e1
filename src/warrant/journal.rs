//! What the journal and earlier attempts say about an act. Pure.
//!
//! The journal is written by the orchestrator, whom the router does not believe: every entry that gives a reason is held to what
//! others wrote (`grounds`), and the machine that the engine drives by folds it again here. A direction is open only while the fold is in
//! it: forward until a stop, a failure or a missed verification is journalled, back only after one, in reverse order; neither while a
//! person is waited for.

use super::{Refusal, grounds, store::Rows};
use crate::domain::{
    machine::{Run, RunStatus, Shape, State, replay},
    plan::PlanDoc,
    run::{ActRef, Direction},
};

/// The execution is in a state for this act, its lease is current, and the journal intends exactly this attempt next.
pub(super) fn check(rows: &Rows, doc: &PlanDoc, act: &ActRef) -> Result<(), Refusal> {
    grounds::check(rows, doc)?;
    let state = fold(rows, doc)?;
    in_direction(rows, &state, act.direction)?;
    let highest = rows.attempts.iter().map(|a| a.epoch).max().unwrap_or(0);
    if act.epoch != rows.execution.epoch || act.epoch < highest {
        return Err(Refusal::new(
            "stale_epoch",
            "another lease of this execution is newer",
        ));
    }
    intended(&state, act)?;
    earlier_attempts(rows, act)?;
    not_stopped(rows, &state, act)
}

/// The journal, whole and without a gap, through the machine.
fn fold(rows: &Rows, doc: &PlanDoc) -> Result<State, Refusal> {
    let dense = rows
        .journal
        .iter()
        .map(|entry| entry.seq)
        .eq(0..rows.execution.journal_length);
    if !dense {
        return Err(Refusal::new("journal_gap", "the journal is not whole"));
    }
    let events = rows.journal.iter().map(|entry| &entry.event);
    replay(&Shape::of(doc), events)
        .map_err(|illegal| Refusal::new("journal_illegal", format!("the journal cannot be: {illegal}")))
}

fn in_direction(rows: &Rows, state: &State, direction: Direction) -> Result<(), Refusal> {
    let wanted = match direction {
        Direction::Forward => "running",
        Direction::Rollback => "rolling_back",
    };
    for (who, status) in [
        ("row", rows.execution.status.as_str()),
        ("journal", state.status()),
    ] {
        if status != wanted {
            let message = format!("the execution is `{status}` by its {who}, not `{wanted}`");
            return Err(Refusal::new("execution_status", message));
        }
    }
    Ok(())
}

fn intended(state: &State, act: &ActRef) -> Result<(), Refusal> {
    let step = usize::try_from(act.step)
        .ok()
        .and_then(|index| state.steps.get(index));
    let run = step.map(|step| match act.direction {
        Direction::Forward => step.forward,
        Direction::Rollback => step.rollback,
    });
    match run {
        Some(Run {
            status: RunStatus::Running,
            attempt,
        }) if attempt == act.attempt => Ok(()),
        Some(Run { attempt, .. }) if attempt == act.attempt && attempt > 0 => Err(Refusal::new(
            "attempt_ended",
            "the journal has an end of this attempt",
        )),
        _ => Err(Refusal::new(
            "not_intended",
            "the journal does not intend this attempt",
        )),
    }
}

/// An earlier attempt that is `unknown` is one that a person has settled as not done: else the fold would not intend another.
fn earlier_attempts(rows: &Rows, act: &ActRef) -> Result<(), Refusal> {
    for other in rows
        .attempts
        .iter()
        .filter(|a| a.step == act.step && a.direction == act.direction)
    {
        if other.attempt > act.attempt {
            return Err(Refusal::new(
                "later_attempt",
                "a later attempt of this step exists",
            ));
        }
        if other.attempt < act.attempt && matches!(other.status.as_str(), "claimed" | "done") {
            let message = format!("attempt {} of this step is `{}`", other.attempt, other.status);
            return Err(Refusal::new("earlier_attempt", message));
        }
    }
    Ok(())
}

/// A stop binds from the moment at which a person asked for it, whether the engine has journalled it or not. The attempt ends
/// here without effect; what the engine does next is what was asked.
fn not_stopped(rows: &Rows, state: &State, act: &ActRef) -> Result<(), Refusal> {
    if act.direction == Direction::Rollback {
        return Ok(());
    }
    if state.turn_back.is_some() {
        let message = "the execution was stopped before this attempt began";
        return Err(Refusal::new("held", message).of_the_attempt().retryable());
    }
    if let Some(by) = grounds::stop_asked(rows) {
        let message = format!("{by} asked to stop before this attempt began");
        return Err(Refusal::new("stop_requested", message)
            .of_the_attempt()
            .retryable());
    }
    Ok(())
}
