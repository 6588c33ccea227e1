//! `cargo xtask`: parses the command line and calls the file of that name; nothing else.

mod bench;
mod ci;
mod cli;
mod coverage;
mod db;
mod generate;
mod kube;
mod lint;
mod policy;
mod report;
mod squawk;
mod test;
mod tidy;
mod tools;
mod workflows;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Task};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Tools(command) => tools::run(&command),
        Task::Kube(command) => kube::run(&command),
        Task::Tidy => tidy::run(),
        Task::Test { real, filter } => test::run(real, &filter),
        Task::Ci { quick } => ci::run(quick),
        Task::Lint { advisories } => lint::run(advisories),
        Task::Coverage { out, raise } => coverage::run(out.as_deref(), raise),
        Task::Workflows => workflows::run(),
        Task::Gen { check } => generate::run(check),
        Task::Db(command) => db::run(&command),
        Task::Policy => policy::run(),
        Task::Bench { arguments } => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
