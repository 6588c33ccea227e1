//! The stages: this executable, started again by itself under a hidden first argument.

use std::{ffi::OsStr, process::ExitCode};

use super::{exec_stage, init_stage, supervise};

/// Supervises one job: namespaces, pumps, redaction, deadline.
pub(super) const SUPERVISOR: &str = "sandbox-child";
/// First process of the pid namespace: private root, reaping.
pub(super) const INIT: &str = "sandbox-init";
/// Puts on Landlock, seccomp and rlimits, then becomes the command.
pub(super) const EXEC: &str = "sandbox-exec";

/// How a stage starts the next one.
pub(super) const SELF_EXE: &str = "/proc/self/exe";

/// Runs a stage when the first argument names one. `main` calls this before anything else: stages must be single-threaded.
#[must_use]
pub fn child_main_if_asked() -> Option<ExitCode> {
    let stage = std::env::args_os().nth(1)?;
    if stage == OsStr::new(SUPERVISOR) {
        Some(supervise::main())
    } else if stage == OsStr::new(INIT) {
        Some(init_stage::main())
    } else if stage == OsStr::new(EXEC) {
        Some(exec_stage::main())
    } else {
        None
    }
}
