//! `carapulse config check|print|schema`.

use clap::Subcommand;

use super::{Exit, Failure};
use crate::{
    config::{Config, Database, Document, Notify, Section},
    roles::ServeRole,
};

/// Subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the configuration and say what is wrong with it
    Check {
        /// Only what this role needs; repeat it for several
        #[arg(long = "role", value_name = "ROLE", value_enum)]
        roles: Vec<ServeRole>,
    },
    /// Print what is in force, as TOML; secrets are references and stay so
    Print,
    /// Print the JSON schema of the file
    Schema,
}

pub(super) fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Check { roles } => check(&roles, config),
        Command::Print => {
            outln!("{}", toml::to_string_pretty(&config.document()?)?.trim_end());
            Ok(())
        }
        Command::Schema => {
            outln!(
                "{}",
                serde_json::to_string_pretty(&schemars::schema_for!(Document))?
            );
            Ok(())
        }
    }
}

fn check(roles: &[ServeRole], config: &Config) -> anyhow::Result<()> {
    if roles.is_empty() {
        config.document()?;
    }
    for role in roles {
        role.check(config)?;
    }
    for warning in warnings(config) {
        outln!("warning: {warning}");
    }
    outln!("the configuration is right");
    Ok(())
}

/// What is allowed but unwise.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config
        .get::<Notify>()
        .map(|notify| notify.warnings())
        .unwrap_or_default();
    warnings.extend(
        config
            .get::<Database>()
            .map(|database| database.warnings())
            .unwrap_or_default(),
    );
    warnings
}

/// A configuration that cannot be read ends with its own exit code.
pub(super) fn load(file: Option<std::path::PathBuf>, set: Vec<String>) -> anyhow::Result<Config> {
    let sources = crate::config::Sources::of_process(file, set);
    Config::load(&sources).map_err(|error| Failure::of(Exit::Config, error.to_string()))
}
