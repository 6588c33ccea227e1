//! `cargo xtask images`: the five container images, built and run as they are shipped.
//!
//! In: the `Dockerfile`, `xtask/images.toml`, a container engine. Out: images `localhost/carapulse/<role>:dev`, of which
//! each was started with a read-only root, no capabilities and limits, and became healthy by its own HEALTHCHECK; the
//! size of each against its budget.
//! Always: the Dockerfile is built unchanged. With Docker, by buildx; else by buildah and podman, which are installed
//! where this is root on Debian. Bases that no registry gives are stood in for, and said to be.
//! Not here: pushing, signing, scanning (the workflows), Compose and the chart.

mod bases;
mod check;
mod command_lines;
mod dockerfile;
mod engine;
#[cfg(test)]
mod install_tests;
mod lint;
mod manifest;
mod pin;
mod podman;
pub mod postgres;
mod reproduce;
mod size;

use std::process::Command;

use anyhow::{Result, bail};

use crate::cli::ImagesCommand;
use crate::report::{capture, say, step};
use crate::workspace;
pub use dockerfile::Dockerfile;
use engine::Build;
pub use engine::Engine;
use manifest::Manifest;

/// Runs `xtask images …`; with no command: build all, then check all. `packages_only`: this machine reaches package
/// registries, but neither a registry of images nor the vendors of the command lines.
pub fn run(packages_only: bool, command: Option<&ImagesCommand>) -> Result<()> {
    match command {
        None => {
            build(&[], packages_only)?;
            check(&[])
        }
        Some(ImagesCommand::Build { targets }) => build(targets, packages_only),
        Some(ImagesCommand::Check { targets }) => check(targets),
        Some(ImagesCommand::Size) => {
            let manifest = manifest::load()?;
            size::check(&Engine::find()?, &manifest.select(&[])?)
        }
        Some(ImagesCommand::Tools) => command_lines::fill(),
        Some(ImagesCommand::Reproduce { full }) => {
            let file = linted()?;
            let engine = Engine::find()?;
            let bases = bases::ensure(&engine, &file, packages_only)?;
            reproduce::run(&engine, &bases, *full)
        }
        Some(ImagesCommand::Pin) => pin::run(),
        Some(ImagesCommand::Lint) => linted().map(drop),
    }
}

/// The tag under which `build` leaves an image.
fn tag(name: &str) -> String {
    format!("localhost/carapulse/{name}:dev")
}

fn linted() -> Result<Dockerfile> {
    let file = Dockerfile::read()?;
    let mut findings = lint::findings(&file, &manifest::load()?, &lint::rust_channel()?);
    findings.extend(lint::ignored(&std::fs::read_to_string(workspace::path(
        ".dockerignore",
    ))?));
    if !findings.is_empty() {
        bail!(
            "the Dockerfile is not as it must be:\n  {}",
            findings.join("\n  ")
        );
    }
    Ok(file)
}

fn build(targets: &[String], packages_only: bool) -> Result<()> {
    let file = linted()?;
    let manifest = manifest::load()?;
    let chosen = manifest.select(targets)?;
    let engine = Engine::find()?;
    say(&format!("images are built by {}", engine.name()));
    let mut arguments = bases::ensure(&engine, &file, packages_only)?;
    arguments.extend(revision()?);
    arguments.push(("TOOLS_MISSING".to_owned(), "report".to_owned()));
    if packages_only {
        command_lines::fill()?;
        arguments.push(("TOOLS_FROM".to_owned(), "local".to_owned()));
    }
    for image in chosen {
        let tag = tag(&image.name);
        step(&format!("building {tag}"), || {
            engine.build(&Build {
                target: &image.name,
                tag: &tag,
                arguments: &arguments,
            })
        })?;
    }
    say_tools(&engine, &manifest, targets)
}

/// What the labels say: the version of Cargo.toml, and the commit with the time of it.
fn revision() -> Result<Vec<(String, String)>> {
    let git = |format: &str| {
        let mut command = Command::new("git");
        command.current_dir(workspace::root());
        command.args(["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", format]);
        capture(command.env("TZ", "UTC")).map(|text| text.trim().to_owned())
    };
    Ok(vec![
        ("VERSION".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("REVISION".to_owned(), git("--format=%H")?),
        ("CREATED".to_owned(), git("--format=%cd")?),
    ])
}

/// Which command lines are in the images and which are missing: the image's own list.
fn say_tools(engine: &Engine, manifest: &Manifest, targets: &[String]) -> Result<()> {
    let Some(image) = manifest.select(targets)?.into_iter().find(|image| image.tools) else {
        return Ok(());
    };
    let rows = command_lines::in_image(engine, &tag(&image.name))?;
    for row in &rows {
        say(&format!("{:<9} {}", row.name, row.text()));
    }
    Ok(())
}

fn check(targets: &[String]) -> Result<()> {
    let manifest = manifest::load()?;
    let engine = Engine::find()?;
    let chosen = manifest.select(targets)?;
    let healthy = check::run(&engine, &chosen);
    let fits = size::check(&engine, &chosen);
    healthy.and(fits)
}
