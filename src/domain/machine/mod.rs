//! The life of an execution as a pure machine: `(state, event) → state`, and `state → what to do next`.
//!
//! In: [`JournalEvent`]s in the order of the journal. Out: a [`State`], and the one [`Command`] that it asks for.
//! Always holds: no clock, no IO, nothing random; the state is the fold of the journal; what to do next depends on the
//! state alone, so that whoever takes over an execution knows what to do. A step found running is probed, never redone.
//! Not here: how a command is carried out (`engine`), and when (timers are the engine's).

mod apply;
mod next;
mod state;
#[cfg(test)]
mod tests;

pub use apply::{Illegal, apply};
pub use next::{Command, next};
pub use state::{Outcome, Phase, Run, RunStatus, Shape, State, StepShape, StepState};

use crate::domain::run::JournalEvent;

/// Folds a whole journal; the stored state must equal the result.
pub fn replay<'a>(
    shape: &Shape,
    events: impl IntoIterator<Item = &'a JournalEvent>,
) -> Result<State, Illegal> {
    events
        .into_iter()
        .try_fold(State::new(shape), |state, event| apply(shape, state, event))
}
