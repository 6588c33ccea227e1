//! `cargo xtask compose`: the Compose files, checked and brought up.
//!
//! `config`: every file and profile under the real `docker compose config`, then under the rules of `rules.rs`. `smoke`: the
//! whole stack under the real `docker compose`, on Docker or on podman's socket, and a plan through it.
//! Always: the files are used as they are. What no registry gives is stood in for by the real servers, built here under the
//! ordinary names; what cannot be had is named as not run.
//! Not here: building the roles' images (`cargo xtask images`).

mod engine;
mod network;
mod play;
mod project;
mod relay;
mod rules;
mod smoke;
mod stand_ins;

use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::cli::ComposeCommand;
use crate::report::{capture, run as run_command, say, step};
use crate::{tools, workspace};
use project::Project;

/// The file, and what goes over it.
const BASE: &str = "compose/compose.yaml";
const OVERLAYS: [&str; 2] = ["compose/compose.simulation.yaml", "compose/compose.notify.yaml"];
const PROFILES: [&str; 3] = ["chatops", "observability", "simulation"];
const DIGESTS: &str = "compose/compose.digests.yaml";

/// Runs `xtask compose …`.
pub fn run(command: &ComposeCommand) -> Result<()> {
    match command {
        ComposeCommand::Config => config(),
        ComposeCommand::Up => Project::named("carapulse-up", "localhost/carapulse", "dev")?.up(&[]),
        ComposeCommand::Smoke { keep, registry, tag } => smoke::run(registry, tag, *keep),
        ComposeCommand::Down => {
            for name in ["carapulse-up", smoke::PROJECT] {
                Project::named(name, "localhost/carapulse", "dev")?.down()?;
            }
            Ok(())
        }
        ComposeCommand::Pin => pin(),
    }
}

/// Every way in which the files are used must be valid, and the whole must keep the rules.
fn config() -> Result<()> {
    let mut ways: Vec<Vec<&str>> = vec![Vec::new()];
    ways.extend(PROFILES.map(|profile| vec!["--profile", profile]));
    ways.extend(OVERLAYS.map(|file| vec!["--file", file]));
    ways.push(everything());
    for way in &ways {
        let name = format!("docker compose config {}", way.join(" "));
        step(name.trim_end(), || {
            capture(compose()?.args(way).args(["config", "--quiet"])).map(drop)
        })?;
    }
    let broken = rules::broken(&resolved(&everything())?);
    if !broken.is_empty() {
        bail!("the Compose files break their rules:\n  {}", broken.join("\n  "));
    }
    say("every service keeps the rules, and every network has the members that it should have");
    Ok(())
}

/// All profiles; the overlay of the simulation is another way to its profile.
fn everything() -> Vec<&'static str> {
    PROFILES
        .iter()
        .flat_map(|profile| ["--profile", profile])
        .collect()
}

/// The project as Compose understands it.
fn resolved(way: &[&str]) -> Result<Value> {
    let text = capture(compose()?.args(way).args(["config", "--format", "json"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// `docker compose` on the base file, from the root. No variable of this shell changes what is checked.
fn compose() -> Result<Command> {
    let mut command = Command::new(tools::ensure("docker-compose")?);
    command.current_dir(workspace::root()).args(["--file", BASE]);
    for name in [
        "CARAPULSE_LOCAL",
        "CARAPULSE_REGISTRY",
        "CARAPULSE_TAG",
        "COMPOSE_PROFILES",
        "COMPOSE_FILE",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Asks the registries for the digest of every image, and writes them as a file to be put over the others.
fn pin() -> Result<()> {
    let text = step("asking the registries for digests", || {
        capture(
            compose()?
                .args(everything())
                .args(["config", "--lock-image-digests"]),
        )
    })?;
    std::fs::write(workspace::path(DIGESTS), text)?;
    run_command(compose()?.args(["--file", DIGESTS, "config", "--quiet"]))?;
    say(&format!(
        "wrote {DIGESTS}; use it as `--file {BASE} --file {DIGESTS}`"
    ));
    Ok(())
}
