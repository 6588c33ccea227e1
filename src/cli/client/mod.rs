//! The client commands: everything a person does with a running Carapulse, over its public HTTP API.
//!
//! In: a command and a profile. Out: lines for people, or JSON or YAML for programs, and an exit code that scripts can tell apart.
//! Always holds: a token comes from a reference or the environment, never from the command line; what servers say is shown without
//! control characters; nothing is approved but a digest that was shown or given.

mod exec;
mod follow;
mod http;
mod incident;
mod output;
mod plan;
mod profile;
mod sse;
mod target;
mod token;
mod tools;

use clap::{Args, Subcommand};

use super::Exit;
use crate::config::Config;
use http::Api;
use output::{Format, Output};

pub use incident::AuditList;

/// How to reach the gateway and how to show what it says; the same for every client command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// A profile of ~/.config/carapulse/profiles.toml
    #[arg(long, global = true, value_name = "NAME", env = "CARAPULSE_PROFILE")]
    pub profile: Option<String>,
    /// The gateway's address; before the profile's
    #[arg(long, global = true, value_name = "URL", env = "CARAPULSE_URL")]
    pub url: Option<String>,
    /// Where the token is (env:NAME, file:PATH); before the profile's. Without one, CARAPULSE_TOKEN is read
    #[arg(long, global = true, value_name = "REF")]
    pub token_ref: Option<String>,
    /// How answers are shown
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// No colours (also: the environment's NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The client's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for plans, read, approve and execute them
    #[command(subcommand)]
    Plan(plan::Command),
    /// Follow executions, settle and undo them
    #[command(subcommand)]
    Exec(exec::Command),
    /// What woke the system and what was found
    #[command(subcommand)]
    Incident(incident::Command),
    /// The evidence of an execution, to be verified offline
    #[command(subcommand)]
    Evidence(exec::Evidence),
    /// The registry of places: propose and confirm changes
    #[command(subcommand)]
    Target(target::Command),
    /// What steps of a plan can do: tools, actions, arguments
    #[command(subcommand)]
    Tools(tools::Command),
    /// Stop every forward act of the installation
    Freeze(target::Freeze),
    /// Lift the freeze
    Unfreeze(target::Freeze),
    /// Make, list and revoke tokens, in the database itself
    #[command(subcommand)]
    Token(token::Command),
}

/// Runs a client command.
pub async fn run(
    common: &Common,
    command: Command,
    configured: &dyn Fn() -> anyhow::Result<Config>,
) -> anyhow::Result<Exit> {
    let output = Output::new(common);
    match command {
        Command::Token(command) => token::run(&output, command, configured).await,
        Command::Plan(command) => plan::run(&Api::connect(common)?, &output, command).await,
        Command::Exec(command) => exec::run(&Api::connect(common)?, &output, command).await,
        Command::Evidence(command) => exec::evidence(&Api::connect(common)?, command).await,
        Command::Incident(command) => incident::run(&Api::connect(common)?, &output, command).await,
        Command::Target(command) => target::run(&Api::connect(common)?, &output, command).await,
        Command::Tools(command) => tools::run(&Api::connect(common)?, &output, command).await,
        Command::Freeze(freeze) => target::freeze(&Api::connect(common)?, &output, true, freeze).await,
        Command::Unfreeze(freeze) => target::freeze(&Api::connect(common)?, &output, false, freeze).await,
    }
}

/// Runs `audit list`.
pub async fn audit_list(common: &Common, list: AuditList) -> anyhow::Result<Exit> {
    incident::audit_list(&Api::connect(common)?, &Output::new(common), list).await
}
