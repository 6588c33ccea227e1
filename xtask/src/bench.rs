//! `cargo xtask bench`: builds the measuring program in the release profile and runs it; it brings its own Postgres.

use anyhow::Result;

use crate::report::run as run_command;
use crate::workspace;

/// Runs `xtask bench`; `arguments` go to the program as they are.
pub fn run(arguments: &[String]) -> Result<()> {
    let mut command = workspace::cargo(&["bench", "--package=carapulse", "--bench=bench", "--"]);
    run_command(command.args(arguments))
}
