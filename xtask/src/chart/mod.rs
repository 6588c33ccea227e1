//! `cargo xtask chart`: the Helm chart in `chart/`, checked as far as it can be without a cluster, then on a real API server.
//!
//! In: the chart, and the values under `chart/ci`. Out: what is wrong with it.
//! Always: every part names the values with which it failed; what is generated (README, schema, dashboards) is never written by hand.
//! Not here: whether a network really drops what a policy forbids. That is only worked out from the policies (`reach`).

mod cluster;
mod configuration;
mod conform;
mod docs;
mod files;
mod helm;
mod install;
mod kube_schemas;
mod lint;
mod matrix;
mod pods;
mod reach;
mod schema;
mod snapshot;

use anyhow::{Result, bail};

use crate::cli::ChartCommand;
use crate::report::{say, step};

pub use docs::generated;

/// Runs `xtask chart …`.
pub fn run(command: &ChartCommand) -> Result<()> {
    match command {
        ChartCommand::Lint => lint::run(),
        ChartCommand::Snapshot { update } => snapshot::run(*update),
        ChartCommand::Conform => conform::run(),
        ChartCommand::Config => configuration::run(),
        ChartCommand::Reach => reach::run(),
        ChartCommand::Docs { check } => docs::run(*check),
        ChartCommand::Install => install::run(),
        ChartCommand::Pods { tag } => pods::run(tag),
        ChartCommand::All => all(),
    }
}

type Part = (&'static str, fn() -> Result<()>);

/// Cheap ones first. `pods` needs images and is asked for by name.
const PARTS: &[Part] = &[
    ("generated files", || docs::run(true)),
    ("lint", lint::run),
    ("snapshots", || snapshot::run(false)),
    ("reach", reach::run),
    ("conform", conform::run),
    ("configuration", configuration::run),
    ("install", install::run),
];

fn all() -> Result<()> {
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if let Err(error) = step(&format!("chart: {name}"), part) {
            say(&format!("{name}: {error:#}"));
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("chart: failed: {}", failed.join(", "));
    }
    Ok(())
}
