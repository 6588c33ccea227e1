//! What the journal's reasons rest on: rows that whoever writes the journal cannot write. Pure.
//!
//! An end of an attempt is the router's own row; a look is the router's own row; a person's request is the gateway's row; a passed
//! deadline is arithmetic on times that the database sets. An entry without such ground makes the whole journal worthless.

use std::collections::BTreeMap;

use super::{Refusal, after, store::AttemptRow, store::Rows};
use crate::domain::{
    plan::PlanDoc,
    run::{AttemptStatus, Direction, JournalEvent, ProbeReport},
};

/// Every entry that is a reason has its ground.
pub(super) fn check(rows: &Rows, doc: &PlanDoc) -> Result<(), Refusal> {
    ends(rows)?;
    looks(rows)?;
    requests(rows)?;
    deadline(rows, doc)
}

/// Who asked for a stop that the journal does not have yet; a request that the engine has refused is none.
pub(super) fn stop_asked(rows: &Rows) -> Option<&str> {
    let mut journalled: Vec<&JournalEvent> = events(rows).collect();
    rows.requests
        .iter()
        .filter(|request| !request.refused)
        .find_map(|request| {
            let (JournalEvent::CancelRequested { by } | JournalEvent::RollbackRequested { by, .. }) =
                &request.event
            else {
                return None;
            };
            match journalled.iter().position(|event| **event == request.event) {
                Some(index) => {
                    journalled.swap_remove(index);
                    None
                }
                None => Some(by.as_str()),
            }
        })
}

fn events(rows: &Rows) -> impl DoubleEndedIterator<Item = &JournalEvent> {
    rows.journal.iter().map(|entry| &entry.event)
}

fn forged(what: String) -> Refusal {
    Refusal::new("journal_forged", what)
}

/// How an attempt ended, in the journal's words.
#[derive(Clone, Copy)]
enum Said {
    Ended(AttemptStatus, bool),
    Probed(ProbeReport),
}

/// The last word of the journal on each attempt is the router's.
fn ends(rows: &Rows) -> Result<(), Refusal> {
    let mut said: BTreeMap<(u32, Direction, u32), Said> = BTreeMap::new();
    for event in events(rows) {
        match *event {
            JournalEvent::Ended {
                step,
                direction,
                attempt,
                status,
                retryable,
                ..
            } => drop(said.insert((step, direction, attempt), Said::Ended(status, retryable))),
            JournalEvent::Probed {
                report: ProbeReport::Running,
                ..
            } => {}
            JournalEvent::Probed {
                step,
                direction,
                attempt,
                report,
            } => drop(said.insert((step, direction, attempt), Said::Probed(report))),
            // Withdrawn and begun anew: what counts is how that ends.
            JournalEvent::Intended {
                step,
                direction,
                attempt,
            } => drop(said.remove(&(step, direction, attempt))),
            _ => {}
        }
    }
    for ((step, direction, attempt), said) in said {
        let row = rows
            .attempts
            .iter()
            .find(|row| (row.step, row.direction, row.attempt) == (step, direction, attempt));
        if !agrees(said, row) {
            let which = format!("attempt {attempt} of step {step}, {}", direction.as_str());
            return Err(forged(format!(
                "the journal tells another end of {which} than the tool-router"
            )));
        }
    }
    Ok(())
}

fn agrees(said: Said, row: Option<&AttemptRow>) -> bool {
    let Some(row) = row.filter(|row| !row.fenced) else {
        return matches!(said, Said::Probed(ProbeReport::NotStarted));
    };
    match said {
        Said::Ended(status, retryable) => row.status == status.as_str() && row.retryable == retryable,
        Said::Probed(ProbeReport::Done) => row.status == "done",
        Said::Probed(ProbeReport::NotDone) => row.status == "failed" && row.not_done,
        Said::Probed(ProbeReport::Failed) => {
            matches!(row.status.as_str(), "failed" | "refused") && !row.not_done
        }
        Said::Probed(ProbeReport::Unknown) => row.status == "unknown",
        Said::Probed(ProbeReport::NotStarted | ProbeReport::Running) => false,
    }
}

/// The looks that the journal tells of are looks of the router, in their order. A look whose report was lost is in the rows only.
fn looks(rows: &Rows) -> Result<(), Refusal> {
    let mut seen = rows.looks.iter().rev();
    for event in events(rows).rev() {
        let JournalEvent::Looked { verdict, last } = *event else {
            continue;
        };
        if !seen.any(|look| look.verdict == verdict.as_str() && (look.last || !last)) {
            return Err(forged(
                "the journal tells of a look that the tool-router never took".to_owned(),
            ));
        }
    }
    Ok(())
}

/// What people are said to have asked, they have.
fn requests(rows: &Rows) -> Result<(), Refusal> {
    let mut asked: Vec<&JournalEvent> = rows.requests.iter().map(|request| &request.event).collect();
    for event in events(rows) {
        let of_a_person = matches!(
            event,
            JournalEvent::CancelRequested { .. }
                | JournalEvent::RollbackRequested { .. }
                | JournalEvent::Resolved { .. }
        );
        if !of_a_person {
            continue;
        }
        let Some(index) = asked.iter().position(|request| *request == event) else {
            return Err(forged(
                "the journal tells of a request that nobody made".to_owned(),
            ));
        };
        asked.swap_remove(index);
    }
    Ok(())
}

fn deadline(rows: &Rows, doc: &PlanDoc) -> Result<(), Refusal> {
    let start = rows.execution.started_at.unwrap_or(rows.execution.created_at);
    let passed = rows.now > after(start, doc.constraints.max_duration_secs);
    if !passed && events(rows).any(|event| *event == JournalEvent::DeadlinePassed) {
        return Err(forged(
            "the journal has a deadline that has not passed".to_owned(),
        ));
    }
    Ok(())
}
