//! `carapulse tools`: what steps of a plan can do, as the catalogue of this installation says.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{http::Api, output::Output, plan::list_of};
use crate::cli::{Exit, Failure};

/// Subcommands of `tools`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every action of every tool
    List,
    /// One tool, or one action with its arguments
    Get(Get),
}

/// What is looked at.
#[derive(Debug, Args)]
pub struct Get {
    /// The tool: kubectl
    tool: String,
    /// One of its actions: scale
    action: Option<String>,
}

const COLUMNS: [(&str, &str); 7] = [
    ("tool", "/tool"),
    ("action", "/action"),
    ("class", "/class"),
    ("risk", "/risk"),
    ("effect", "/effect"),
    ("reversible", "/reversible"),
    ("summary", "/summary"),
];

/// Runs a subcommand.
pub(super) async fn run(api: &Api, output: &Output, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List => {
            let answer = api.get("/v1/tools", &[]).await?;
            output.show(&answer, |output| {
                let rows: Vec<Value> = list_of(&answer, "/data").iter().flat_map(actions).collect();
                output.rows(&rows, &COLUMNS);
            })?;
        }
        Command::Get(Get { tool, action }) => {
            let answer = api.get(&format!("/v1/tools/{tool}"), &[]).await?;
            match action {
                None => output.show(&answer, |output| output.rows(&actions(&answer["tool"]), &COLUMNS))?,
                Some(action) => show_action(output, &answer["tool"], &tool, &action)?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn show_action(output: &Output, tool: &Value, name: &str, action: &str) -> anyhow::Result<()> {
    let found = actions(tool).into_iter().find(|found| found["action"] == *action);
    let found = found.ok_or_else(|| {
        let known: Vec<&str> = list_of(tool, "/actions")
            .iter()
            .filter_map(|action| action["action"].as_str())
            .collect();
        let text = format!(
            "tool `{name}` has no action `{action}`; it has {}",
            known.join(", ")
        );
        Failure::of(Exit::NotFound, text)
    })?;
    output.show(&found, |output| {
        output.line(&serde_json::to_string_pretty(&found).unwrap_or_default());
    })
}

/// The actions of a tool, each with the tool's name.
fn actions(tool: &Value) -> Vec<Value> {
    let named = |action: &Value| {
        let mut action = action.clone();
        action["tool"] = json!(tool["tool"]);
        action
    };
    list_of(tool, "/actions").iter().map(named).collect()
}
