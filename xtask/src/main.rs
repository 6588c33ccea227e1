//! `cargo xtask`: parses the command line and calls the file of that name; nothing else.

mod bench;
mod chart;
mod ci;
mod cli;
mod compose;
mod coverage;
mod db;
mod delivery;
mod folder;
mod generate;
mod images;
mod kube;
mod lint;
mod observability;
mod policy;
mod release;
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
        Task::Lint {
            advisories,
            dependencies,
        } => lint::run(advisories, dependencies),
        Task::Coverage { out, raise } => coverage::run(out.as_deref(), raise),
        Task::Release(command) => release::run(&command),
        Task::Delivery(options) => delivery::run(&options),
        Task::Workflows => workflows::run(),
        Task::Gen { check } => generate::run(check),
        Task::Db(command) => db::run(&command),
        Task::Compose(command) => compose::run(&command),
        Task::Observability => observability::run(),
        Task::Policy => policy::run(),
        Task::Chart(command) => chart::run(&command),
        Task::Images {
            packages_only,
            command,
        } => images::run(packages_only, command.as_ref()),
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
