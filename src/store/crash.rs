//! Named places where a test lets the process die, to prove that nothing is lost there.
//!
//! `CARAPULSE_CRASH_AT=engine.after_commit:2` kills the process (SIGKILL, no goodbye) when it passes that place for the
//! second time. Unset, a place costs one atomic load.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};

/// Every place: those of an execution in the order in which it passes them, then those of an investigation. Tests play a plan, or an
/// incident, for each and kill it there.
pub const POINTS: &[&str] = &[
    "gateway.before_execute",
    "gateway.after_execute",
    "engine.after_lease",
    "engine.before_intent",
    "engine.after_intent",
    "router.before_claim",
    "router.after_claim",
    "router.after_capture",
    "router.after_prior",
    "router.before_act",
    "router.after_act",
    "router.before_record",
    "router.after_record",
    "engine.after_act",
    "engine.before_commit",
    "engine.after_commit",
    "engine.before_look",
    "router.before_look",
    "router.after_look",
    "engine.after_look",
    "engine.before_finish",
    "engine.after_finish",
    "engine.after_forget",
    "engine.before_probe",
    "engine.after_probe",
    "router.before_fence",
    "router.after_fence",
    "router.before_settle",
    "router.after_settle",
    "sequencer.before_commit",
    "sequencer.after_commit",
    "sequencer.after_checkpoint",
    "investigation.after_lease",
    "investigation.before_keep",
    "investigation.after_keep",
    "investigation.before_request",
    "investigation.after_request",
    "investigation.before_end",
    "investigation.after_end",
    "investigation.after_finish",
];

/// Dies here, if that is wanted. `name` is one of [`POINTS`].
pub fn point(name: &'static str) {
    debug_assert!(
        POINTS.contains(&name),
        "`{name}` is missing in the table of places"
    );
    let Some((place, time)) = wanted() else { return };
    if place == name && passed(name) == *time {
        let _ = kill(getpid(), Signal::SIGKILL);
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch for tests, not a setting")]
fn wanted() -> Option<&'static (String, u32)> {
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    WANTED
        .get_or_init(|| parse(&std::env::var("CARAPULSE_CRASH_AT").ok()?))
        .as_ref()
}

fn passed(name: &'static str) -> u32 {
    static PASSED: OnceLock<Mutex<HashMap<&'static str, u32>>> = OnceLock::new();
    let counts = PASSED.get_or_init(Mutex::default);
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(name).or_insert(0);
    *count += 1;
    *count
}

fn parse(text: &str) -> Option<(String, u32)> {
    match text.rsplit_once(':') {
        Some((place, time)) => Some((place.to_owned(), time.parse().ok()?)),
        None => Some((text.to_owned(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_may_name_which_passing_is_meant() {
        assert_eq!(
            parse("engine.after_act"),
            Some(("engine.after_act".to_owned(), 1))
        );
        assert_eq!(
            parse("engine.after_act:3"),
            Some(("engine.after_act".to_owned(), 3))
        );
        assert_eq!(parse("engine.after_act:x"), None);
    }
}
