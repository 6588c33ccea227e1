//! `carapulse target`, `freeze` and `unfreeze`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{http::Api, output::Output, plan::list_of};
use crate::cli::{Exit, Failure};

/// Subcommands of `target`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Propose a new place, or a change of one, from a file
    Propose(File),
    /// Confirm the change that waits; by another admin than its proposer
    Confirm(Named),
    /// All places, and the changes that wait
    List,
    /// One place, and the change that waits for it
    Show(Named),
}

/// A place by its name.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    name: String,
}

/// A place as a file.
#[derive(Debug, Args)]
pub struct File {
    /// A TOML file
    file: PathBuf,
}

/// `freeze` and `unfreeze`.
#[derive(Debug, Args)]
pub struct Freeze {
    /// Why; others will read it
    #[arg(long)]
    reason: String,
}

const COLUMNS: [(&str, &str); 6] = [
    ("target", "/name"),
    ("environment", "/context/environment"),
    ("mode", "/mode"),
    ("version", "/version"),
    ("protected", "/protected"),
    ("namespace", "/context/namespace"),
];

/// Runs a subcommand.
pub(super) async fn run(api: &Api, output: &Output, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Propose(File { file }) => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let spec: Value = toml::from_str(&text).map_err(|error| {
                Failure::of(Exit::Usage, format!("{}: {}", file.display(), error.message()))
            })?;
            let answer = api.post("/v1/targets", &spec).await?;
            output.show(&answer, |output| {
                let name = super::output::text(&answer, "/pending/name");
                output.line(&format!(
                    "proposed; another admin confirms it: carapulse target confirm {name}"
                ));
            })?;
        }
        Command::Confirm(Named { name }) => {
            let answer = api
                .post(&format!("/v1/targets/{name}:confirm"), &json!({}))
                .await?;
            output.show(&answer, |output| {
                output.rows(&[answer["target"].clone()], &COLUMNS);
            })?;
        }
        Command::List => {
            let answer = api.get("/v1/targets", &[]).await?;
            output.show(&answer, |output| {
                output.rows(list_of(&answer, "/data"), &COLUMNS);
                for change in list_of(&answer, "/pending") {
                    let parts = ["/name", "/target/mode", "/proposed_by"]
                        .map(|pointer| super::output::text(change, pointer));
                    output.line(&format!(
                        "waits for a second person: {} (mode {}, by {})",
                        parts[0], parts[1], parts[2]
                    ));
                }
            })?;
        }
        Command::Show(Named { name }) => {
            let answer = api.get(&format!("/v1/targets/{name}"), &[]).await?;
            output.show(&answer, |output| {
                output.line(&serde_json::to_string_pretty(&answer).unwrap_or_default());
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// Runs `freeze` or `unfreeze`.
pub(super) async fn freeze(api: &Api, output: &Output, frozen: bool, freeze: Freeze) -> anyhow::Result<Exit> {
    let answer = api
        .post("/v1/freeze", &json!({"frozen": frozen, "reason": freeze.reason}))
        .await?;
    output.show(&answer, |output| {
        output.line(if frozen {
            "frozen: nothing acts forward"
        } else {
            "the freeze is lifted"
        });
    })?;
    Ok(Exit::Ok)
}
