//! The database image of the check.

use std::fs;

use anyhow::{Context, Result};

use super::dockerfile::Dockerfile;
use super::engine::Engine;
use crate::report::{capture, step};
use crate::tools;

const RECIPE: &str = include_str!("postgres.Dockerfile");
const START: &str = include_str!("postgres.sh");

/// Only for tests: it is built from the base of the images, so that it needs no registry of its own.
pub const IMAGE: &str = "localhost/carapulse/check-postgres:dev";

/// Builds it, which after the first time is a look at the cache.
pub fn ensure(engine: &Engine, file: &Dockerfile) -> Result<()> {
    let base = file
        .argument("DEBIAN_IMAGE")
        .context("the Dockerfile names its bases")?;
    let tagged = base.split('@').next().unwrap_or(base);
    let base = if engine.has_image(tagged) { tagged } else { base };
    let folder = tools::cache_root()?.join("images/postgres");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("Dockerfile"), RECIPE)?;
    fs::write(folder.join("postgres.sh"), START)?;
    step("an image with Debian's Postgres", || {
        let mut command = engine.builder();
        command.args(["--build-arg", &format!("DEBIAN_IMAGE={base}"), "--tag", IMAGE]);
        capture(command.arg(&folder)).map(drop)
    })
}
