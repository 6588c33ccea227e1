//! The command line of `cargo xtask`, as types.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The project's front door. CI calls the same commands that people do.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// The real servers and tools that tests run against: list, fetch, say where one is
    #[command(subcommand)]
    Tools(ToolsCommand),
}

#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// What is there, and where
    List,
    /// Build or install what is missing
    Fetch {
        /// Names of tools or of their programs, or `all`
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the path of one program, fetching it when needed
    Path { name: String },
}
