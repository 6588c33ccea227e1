//! What an event does to a state.

use super::{
    Command, Outcome, Phase, Run, RunStatus, Shape, State, next,
    state::{MAX_ATTEMPTS, StepState},
};
use crate::domain::{
    EffectKind,
    plan::OnUnknown,
    run::{AttemptStatus, Direction, JournalEvent, ProbeReport, Resolution, Verdict},
};

/// The event cannot happen in this state: it is refused and not journalled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what} while the execution is {status}")]
pub struct Illegal {
    /// What was tried.
    pub what: &'static str,
    /// The execution's status.
    pub status: &'static str,
}

/// Applies one event of the journal.
pub fn apply(shape: &Shape, mut state: State, event: &JournalEvent) -> Result<State, Illegal> {
    let status = state.status();
    let what = change(shape, &mut state, event);
    what.map_err(|what| Illegal { what, status })?;
    Ok(settle(shape, state))
}

/// Changes the state, or says what cannot be done now.
fn change(shape: &Shape, state: &mut State, event: &JournalEvent) -> Result<(), &'static str> {
    if state.phase == Phase::Ended {
        return Err("change anything");
    }
    match event {
        JournalEvent::Started if state.phase == Phase::Pending => state.phase = Phase::Forward,
        JournalEvent::Started => return Err("start"),
        JournalEvent::Intended {
            step,
            direction,
            attempt,
        } => {
            let act = Command::Act {
                step: *step,
                direction: *direction,
                attempt: *attempt,
            };
            if next(shape, state) != act {
                return Err("begin that step");
            }
            let run = run_mut(state, *step, *direction).ok_or("begin that step")?;
            *run = Run {
                status: RunStatus::Running,
                attempt: *attempt,
            };
        }
        JournalEvent::Ended {
            step,
            direction,
            attempt,
            status,
            code,
            retryable,
        } => {
            running(state, *step, *direction, *attempt).ok_or("end that attempt")?;
            let end = End {
                step: *step,
                direction: *direction,
                code: code.clone(),
            };
            ended(shape, state, &end, *status, *retryable);
        }
        JournalEvent::Probed {
            step,
            direction,
            attempt,
            report,
        } => {
            running(state, *step, *direction, *attempt).ok_or("probe that attempt")?;
            let end = End {
                step: *step,
                direction: *direction,
                code: Some("lost".to_owned()),
            };
            probed(shape, state, &end, *report);
        }
        JournalEvent::Looked { verdict, last } => {
            if state.phase != Phase::Verifying || next(shape, state) != Command::Look {
                return Err("look");
            }
            looked(shape, state, *verdict, *last);
        }
        JournalEvent::DeadlinePassed => {
            if state.phase != Phase::Forward || busy(state) {
                return Err("pass the deadline");
            }
            turn_back(shape, state, "deadline_passed");
        }
        JournalEvent::CancelRequested { .. }
        | JournalEvent::RollbackRequested { .. }
        | JournalEvent::Resolved { .. }
        | JournalEvent::Held { .. } => return asked(shape, state, event),
    }
    Ok(())
}

/// What people, and the brakes that they set, may ask.
fn asked(shape: &Shape, state: &mut State, event: &JournalEvent) -> Result<(), &'static str> {
    match event {
        JournalEvent::CancelRequested { .. } => {
            if matches!(
                state.phase,
                Phase::RollingBack | Phase::Attention | Phase::Annotating
            ) {
                return Err("cancel");
            }
            state.cancelled = true;
            request_turn_back(shape, state, "cancelled");
        }
        JournalEvent::RollbackRequested { settles, .. } => {
            if matches!(
                state.phase,
                Phase::RollingBack | Phase::Pending | Phase::Annotating
            ) {
                return Err("roll back");
            }
            if state.phase == Phase::Attention && !settles {
                return Err("go back without an approver's word");
            }
            request_turn_back(shape, state, "rollback_requested");
        }
        JournalEvent::Resolved { step, resolution, .. } => {
            resolve(shape, state, *step, *resolution).ok_or("resolve that step")?;
        }
        JournalEvent::Held { code } => {
            if !matches!(
                state.phase,
                Phase::Forward | Phase::Verifying | Phase::RollingBack
            ) || busy(state)
            {
                return Err("hold");
            }
            suspend(state, code);
        }
        _ => return Err("ask that"),
    }
    Ok(())
}

/// Moves through phases that ask for nothing.
fn settle(shape: &Shape, mut state: State) -> State {
    loop {
        match (state.phase, next(shape, &state)) {
            (Phase::Forward, Command::Look) => state.phase = Phase::Verifying,
            (Phase::Verifying, Command::Look) if shape.min_samples == 0 => state.phase = Phase::Annotating,
            (Phase::Annotating | Phase::RollingBack, Command::Finish(outcome)) => {
                state.outcome = Some(outcome);
                state.phase = Phase::Ended;
            }
            _ => return state,
        }
    }
}

struct End {
    step: u32,
    direction: Direction,
    code: Option<String>,
}

fn ended(shape: &Shape, state: &mut State, end: &End, status: AttemptStatus, retryable: bool) {
    match status {
        AttemptStatus::Done => finish(shape, state, end, RunStatus::Done),
        AttemptStatus::Unknown => unknown(state, end),
        AttemptStatus::Failed | AttemptStatus::Refused => {
            let again = retryable && repeatable(shape, end, status);
            if again && attempts(state, end) < MAX_ATTEMPTS {
                finish(shape, state, end, RunStatus::Pending);
            } else {
                failed(shape, state, end);
            }
        }
    }
}

fn probed(shape: &Shape, state: &mut State, end: &End, report: ProbeReport) {
    match report {
        ProbeReport::Running => {}
        ProbeReport::NotStarted => {
            let run = run_mut(state, end.step, end.direction).expect("checked by the caller");
            *run = Run {
                status: RunStatus::Pending,
                attempt: run.attempt - 1,
            };
            turn_if_asked(shape, state);
        }
        ProbeReport::Done => finish(shape, state, end, RunStatus::Done),
        ProbeReport::NotDone if attempts(state, end) < MAX_ATTEMPTS => {
            finish(shape, state, end, RunStatus::Pending);
        }
        ProbeReport::NotDone | ProbeReport::Failed => failed(shape, state, end),
        ProbeReport::Unknown => unknown(state, end),
    }
}

fn looked(shape: &Shape, state: &mut State, verdict: Verdict, last: bool) {
    state.met_in_a_row = if verdict == Verdict::Met {
        state.met_in_a_row + 1
    } else {
        0
    };
    if state.met_in_a_row >= shape.min_samples {
        state.phase = Phase::Annotating;
    } else if last && verdict == Verdict::NotMet {
        turn_back(shape, state, "not_met");
    } else if last {
        match shape.on_unknown {
            OnUnknown::Hold => suspend(state, "unknown_verdict"),
            OnUnknown::Rollback => turn_back(shape, state, "unknown_verdict"),
        }
    }
}

/// A person settles an unknown step, or abandons a suspended execution. Nobody can declare success: it is measured.
fn resolve(shape: &Shape, state: &mut State, step: u32, resolution: Resolution) -> Option<()> {
    if state.phase != Phase::Attention {
        return None;
    }
    if resolution == Resolution::Abandon {
        state.phase = Phase::Ended;
        state.outcome = Some(Outcome::Failed);
        state.reason = Some("abandoned".to_owned());
        return Some(());
    }
    let index = usize::try_from(step).ok()?;
    let entry = state.steps.get_mut(index)?;
    let run = [&mut entry.rollback, &mut entry.forward]
        .into_iter()
        .find(|run| run.status == RunStatus::Unknown)?;
    run.status = if resolution == Resolution::Done {
        RunStatus::Done
    } else {
        RunStatus::Pending
    };
    state.phase = state.suspended_in.take().unwrap_or(Phase::Forward);
    state.reason = None;
    turn_if_asked(shape, state);
    Some(())
}

fn finish(shape: &Shape, state: &mut State, end: &End, status: RunStatus) {
    run_mut(state, end.step, end.direction)
        .expect("checked by the caller")
        .status = status;
    turn_if_asked(shape, state);
}

fn failed(shape: &Shape, state: &mut State, end: &End) {
    run_mut(state, end.step, end.direction)
        .expect("checked by the caller")
        .status = RunStatus::Failed;
    let code = end.code.clone().unwrap_or_else(|| "failed".to_owned());
    match (end.direction, state.phase) {
        // Whatever an annotation does, success was measured before it.
        (Direction::Forward, Phase::Annotating) => {}
        (Direction::Forward, _) => turn_back(shape, state, &code),
        // The inverses of earlier steps may lean on this one: stop, and be loud.
        (Direction::Rollback, _) => {
            state.phase = Phase::Ended;
            state.outcome = Some(Outcome::RollbackFailed);
            state.reason = Some(code);
        }
    }
}

fn unknown(state: &mut State, end: &End) {
    run_mut(state, end.step, end.direction)
        .expect("checked by the caller")
        .status = RunStatus::Unknown;
    suspend(state, "unknown_step");
}

fn suspend(state: &mut State, code: &str) {
    state.suspended_in = Some(state.phase);
    state.phase = Phase::Attention;
    state.reason = Some(code.to_owned());
}

fn request_turn_back(shape: &Shape, state: &mut State, code: &str) {
    if busy(state) {
        state.turn_back = Some(code.to_owned());
    } else {
        turn_back(shape, state, code);
    }
}

fn turn_if_asked(shape: &Shape, state: &mut State) {
    if matches!(state.phase, Phase::Forward | Phase::Verifying)
        && !busy(state)
        && let Some(code) = state.turn_back.take()
    {
        turn_back(shape, state, &code);
    }
}

fn turn_back(_shape: &Shape, state: &mut State, code: &str) {
    state.phase = Phase::RollingBack;
    state.suspended_in = None;
    state.reason = Some(code.to_owned());
}

fn busy(state: &State) -> bool {
    state
        .steps
        .iter()
        .any(|s| s.forward.status == RunStatus::Running || s.rollback.status == RunStatus::Running)
}

/// Whether another attempt is safe after one that says it had no effect.
fn repeatable(shape: &Shape, end: &End, status: AttemptStatus) -> bool {
    let effect = usize::try_from(end.step)
        .ok()
        .and_then(|i| shape.steps.get(i))
        .map(|s| s.effect);
    status == AttemptStatus::Refused || effect.is_some_and(|effect| effect != EffectKind::Opaque)
}

fn attempts(state: &State, end: &End) -> u32 {
    usize::try_from(end.step)
        .ok()
        .and_then(|i| state.steps.get(i))
        .map_or(0, |s| {
            if end.direction == Direction::Forward {
                s.forward.attempt
            } else {
                s.rollback.attempt
            }
        })
}

fn running(state: &mut State, step: u32, direction: Direction, attempt: u32) -> Option<()> {
    let run = run_mut(state, step, direction)?;
    (run.status == RunStatus::Running && run.attempt == attempt).then_some(())
}

fn run_mut(state: &mut State, step: u32, direction: Direction) -> Option<&mut Run> {
    let StepState { forward, rollback } = state.steps.get_mut(usize::try_from(step).ok()?)?;
    Some(match direction {
        Direction::Forward => forward,
        Direction::Rollback => rollback,
    })
}
