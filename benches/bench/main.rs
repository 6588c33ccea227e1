//! `cargo xtask bench`: our own numbers beside this machine's limits, in one run, and the figures to reach beside both.
//!
//! In: which groups, and how thoroughly. Out: one table, and JSON when asked for. A figure that is missed is named; only what does
//! not work at all ends with an error. `docs/benchmarks.md` says what each line does.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program has no lifecycle to spawn its servers through"
)]

mod commits;
mod gateway;
mod http;
mod limits;
mod log;
mod measure;
mod process;
mod seed;
mod server;
mod stages;
mod steps;
mod table;
mod world;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use measure::Effort;
use server::{Folder, Server};
use table::{Line, Reach, Table};
use world::World;

/// Measures Carapulse beside the machine's own limits.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// Only these groups; the limits are always measured
    #[arg(long, value_enum, num_args = 1..)]
    only: Vec<Group>,
    /// Short rounds: to see that everything runs
    #[arg(long)]
    quick: bool,
    /// Lists also with a million rows
    #[arg(long)]
    full: bool,
    /// Also write the lines there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// What a commit may hold
    Commits,
    /// Recording, sequencing and verifying events
    Audit,
    /// One decision
    Policy,
    /// The job table
    Jobs,
    /// Entering the sandbox
    Sandbox,
    /// Alerts
    Intake,
    /// Plans: made, read, listed
    Plans,
    /// Pages of the audit log
    Events,
    /// The durable step
    Steps,
    /// Start, memory, size
    Serve,
}

fn main() -> ExitCode {
    // The sandbox's stages would run this executable again, were it not told to use the product's.
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is already installed"))?;
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let wanted = |group| args.only.is_empty() || args.only.contains(&group);
    let folder = Folder::new()?;
    eprintln!("starting Postgres, fsync on, in {}", folder.path().display());
    let server = Server::start(folder.path())?;
    let mut table = Table::default();
    let plain = server.database("bench_plain").await?;
    let limits = limits::measure(effort, &plain, &mut table).await?;
    let table_ref = &mut table;
    if wanted(Group::Commits) {
        commits::measure(effort, &plain, &limits, table_ref)
            .await
            .context("commits")?;
    }
    if wanted(Group::Audit) {
        let log = server.database("bench_log").await?;
        log::measure(effort, &log, &folder, &limits, table_ref)
            .await
            .context("audit")?;
    }
    if wanted(Group::Sandbox) {
        process::sandbox(effort, &limits, table_ref)
            .await
            .context("sandbox")?;
    }
    if [Group::Policy, Group::Jobs, Group::Intake, Group::Plans]
        .into_iter()
        .any(wanted)
    {
        work(args, effort, &server, &folder, &limits, table_ref).await?;
    }
    if wanted(Group::Events) {
        events(args, effort, &server, &folder, &limits, table_ref)
            .await
            .context("events")?;
    }
    if wanted(Group::Steps) {
        let steps = server.database("bench_steps").await?;
        steps::measure(effort, &steps, &folder, &limits, table_ref)
            .await
            .context("steps")?;
    }
    if wanted(Group::Serve) {
        let idle = server.database("bench_idle").await?;
        process::start_up(effort, &idle, &folder, table_ref)
            .await
            .context("serve")?;
    }
    println!("{}", table.text());
    if let Some(path) = &args.json {
        table
            .write_json(path)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Policy, jobs, alerts and plans share a database, as they do in an installation.
async fn work(
    args: &Args,
    effort: Effort,
    server: &Server,
    folder: &Folder,
    limits: &limits::Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    let wanted = |group| args.only.is_empty() || args.only.contains(&group);
    let database = server.database("bench_work").await?;
    let world = Arc::new(World::new(&database, "http://127.0.0.1:9").await?);
    if wanted(Group::Policy) {
        stages::policy(effort, &world, table).await.context("policy")?;
    }
    if wanted(Group::Jobs) {
        stages::jobs(effort, &database, limits, table)
            .await
            .context("jobs")?;
    }
    if wanted(Group::Intake) {
        stages::intake(effort, &database, table).await.context("intake")?;
        let asked = gateway::Asked::start(&database, folder, &world).await?;
        asked
            .alerts(effort, &world, table)
            .await
            .context("intake over HTTP")?;
    }
    if !wanted(Group::Plans) {
        return Ok(());
    }
    let ids = stages::plans(effort, &database, &world, limits, table)
        .await
        .context("plans")?;
    let known = &ids[..ids.len().min(500)];
    let mut first = None;
    for rows in sizes(args) {
        let deep = seed::plans(&database, rows).await.context("filling plans")?;
        stages::plan_pages(effort, &database, limits, rows, deep, table)
            .await
            .context("plan pages")?;
        let asked = gateway::Asked::start(&database, folder, &world).await?;
        let listed = asked.plans(effort, limits, rows, table).await.context("list")?;
        let flat = listed / *first.get_or_insert(listed);
        if rows > 1000 {
            let line = Line::new(format!("list 50 plans: {} k beside 1 k", rows / 1000), flat, "x");
            table.add(line.reach(Reach::AtLeast(0.8)));
            asked
                .plan(effort, known, limits, rows, table)
                .await
                .context("get")?;
            asked.create(effort, limits, table).await.context("create")?;
        }
    }
    Ok(())
}

async fn events(
    args: &Args,
    effort: Effort,
    server: &Server,
    folder: &Folder,
    limits: &limits::Limits,
    table: &mut Table,
) -> anyhow::Result<()> {
    let database = server.database("bench_events").await?;
    let world = World::new(&database, "http://127.0.0.1:9").await?;
    for rows in sizes(args) {
        seed::events(&database, rows).await.context("filling events")?;
        log::pages(effort, &database, limits, rows, table)
            .await
            .context("pages")?;
        let asked = gateway::Asked::start(&database, folder, &world).await?;
        asked
            .events(effort, limits, rows, table)
            .await
            .context("pages over HTTP")?;
    }
    Ok(())
}

fn sizes(args: &Args) -> Vec<i64> {
    let all = [1_000, 100_000, 1_000_000];
    all[..if args.full { 3 } else { 2 }].to_vec()
}
