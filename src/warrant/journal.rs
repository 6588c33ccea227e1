//! What the journal and earlier attempts say about an act.

use super::{Refusal, store::Rows};
use crate::domain::run::{ActRef, Direction, JournalEvent, ProbeReport};

/// The execution is in a state for this act, its lease is current, and the journal intends exactly this attempt next.
pub(super) fn check(rows: &Rows, act: &ActRef) -> Result<(), Refusal> {
    let wanted = match act.direction {
        Direction::Forward => "running",
        Direction::Rollback => "rolling_back",
    };
    if rows.execution.status != wanted {
        let message = format!("the execution is `{}`, not `{wanted}`", rows.execution.status);
        return Err(Refusal::new("execution_status", message));
    }
    let highest = rows.attempts.iter().map(|a| a.epoch).max().unwrap_or(0);
    if act.epoch != rows.execution.epoch || act.epoch < highest {
        return Err(Refusal::new(
            "stale_epoch",
            "another lease of this execution is newer",
        ));
    }
    intended(rows, act)?;
    earlier_attempts(rows, act)
}

fn intended(rows: &Rows, act: &ActRef) -> Result<(), Refusal> {
    let is_this = |step: u32, direction: Direction, attempt: u32| {
        step == act.step && direction == act.direction && attempt == act.attempt
    };
    let (mut intended, mut stopped) = (false, false);
    for event in &rows.journal {
        match *event {
            JournalEvent::Intended {
                step,
                direction,
                attempt,
            } => {
                (intended, stopped) = (is_this(step, direction, attempt), false);
            }
            JournalEvent::Ended {
                step,
                direction,
                attempt,
                ..
            } if is_this(step, direction, attempt) => {
                return Err(Refusal::new(
                    "attempt_ended",
                    "the journal has an end of this attempt",
                ));
            }
            JournalEvent::Probed {
                step,
                direction,
                attempt,
                report,
            } if is_this(step, direction, attempt) => match report {
                ProbeReport::Running => {}
                ProbeReport::NotStarted => intended = false,
                _ => {
                    return Err(Refusal::new(
                        "attempt_ended",
                        "the journal has an end of this attempt",
                    ));
                }
            },
            JournalEvent::Held { .. }
            | JournalEvent::CancelRequested { .. }
            | JournalEvent::RollbackRequested { .. }
            | JournalEvent::DeadlinePassed
                if act.direction == Direction::Forward =>
            {
                stopped = true;
            }
            _ => {}
        }
    }
    if intended && stopped {
        Err(Refusal::new(
            "held",
            "the execution was stopped before this attempt began",
        ))
    } else if intended {
        Ok(())
    } else {
        Err(Refusal::new(
            "not_intended",
            "the journal does not intend this attempt",
        ))
    }
}

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
        if other.attempt < act.attempt && matches!(other.status.as_str(), "claimed" | "done" | "unknown") {
            let message = format!("attempt {} of this step is `{}`", other.attempt, other.status);
            return Err(Refusal::new("earlier_attempt", message));
        }
    }
    Ok(())
}
