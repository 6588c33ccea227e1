//! `cargo xtask images reproduce`: the same sources in two folders give the same executable.
//!
//! Compared are the sha256 sums of `carapulse` as the Dockerfile's stage `build` made it in /build/src and as its stage
//! `rebuilt` made it in /elsewhere/deeper/src. Both compile all of the project's own crate. The dependencies they take
//! from the same layer, unless `full`: then the second compiles them as well, into a target folder of its own.

use anyhow::{Result, bail};

use super::engine::{Build, Engine};
use super::tag;
use crate::report::{say, step};

const EXECUTABLE: &str = "/out/carapulse";

/// Builds both and compares.
pub fn run(engine: &Engine, bases: &[(String, String)], full: bool) -> Result<()> {
    let mut arguments = bases.to_vec();
    if full {
        arguments.push(("REBUILD_TARGET".to_owned(), "/elsewhere/target".to_owned()));
    }
    let mut sums = Vec::new();
    for target in ["build", "rebuilt"] {
        let tag = tag(target);
        step(&format!("the executable of stage {target}"), || {
            engine.build(&Build {
                target,
                tag: &tag,
                arguments: &arguments,
            })
        })?;
        let printed = engine.output_of(&tag, "/usr/bin/sha256sum", &[EXECUTABLE])?;
        let sum = printed.split_whitespace().next().unwrap_or_default().to_owned();
        say(&format!("{sum}  {target}"));
        sums.push(sum);
    }
    let what = if full {
        "the dependencies and the project's crate"
    } else {
        "the project's crate (the dependencies come from one layer; --full compiles them twice)"
    };
    if sums[0] != sums[1] {
        bail!("two folders, two executables: {what} compiled in both");
    }
    println!("reproduced: {} ({what})", sums[0]);
    Ok(())
}
