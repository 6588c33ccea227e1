//! `carapulse exec` and `carapulse evidence`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    follow,
    http::Api,
    output::{Output, text},
    plan::{list_of, page, without_nulls},
};
use crate::cli::Exit;

/// Subcommands of `exec`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Executions, newest first
    List(List),
    /// One execution; the exit code tells how it stands
    Get(Named),
    /// Its steps, and how far each has come
    Steps(Named),
    /// What it does and what its tools say
    Logs(Logs),
    /// Stop it: what runs ends, what was done is undone
    Cancel(Named),
    /// Say what became of a step that nobody knows of
    Resolve(Resolve),
    /// Undo what was done
    Rollback(Rollback),
}

/// Subcommands of `evidence`.
#[derive(Debug, Subcommand)]
pub enum Evidence {
    /// Write the evidence bundle of an execution to a file; `carapulse audit verify` checks it
    Export(Export),
}

/// An execution by its id.
#[derive(Debug, Args)]
pub struct Named {
    /// exec_…
    execution_id: String,
}

/// `exec list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only those that stand like this
    #[arg(long)]
    status: Option<String>,
    /// Only that of this plan
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Rows a page
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// `exec logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// exec_…
    execution_id: String,
    /// Go on until it ends; the exit code tells how it ended
    #[arg(long, short)]
    follow: bool,
}

/// `exec resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// exec_…
    execution_id: String,
    /// Ordinal of the step, from 0
    step: u32,
    /// What became of it
    #[arg(long = "as", value_enum)]
    resolution: Resolution,
    /// How you know, for the audit log
    #[arg(long)]
    note: Option<String>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Resolution {
    /// It took effect
    Done,
    /// It did not
    NotDone,
    /// Stop here; leave the world as it is
    Abandon,
}

/// `exec rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// exec_…
    execution_id: String,
    /// Why, for the audit log
    #[arg(long)]
    note: Option<String>,
}

/// `evidence export`.
#[derive(Debug, Args)]
pub struct Export {
    /// exec_…
    execution_id: String,
    /// The file to write
    #[arg(short = 'f', long, value_name = "FILE")]
    file: PathBuf,
}

/// Runs a subcommand of `exec`.
pub(super) async fn run(api: &Api, output: &Output, command: Command) -> anyhow::Result<Exit> {
    let path = |id: &str, rest: &str| format!("/v1/executions/{id}{rest}");
    match command {
        Command::List(list) => {
            let mut query = vec![("limit", list.limit.to_string())];
            query.extend(list.status.map(|status| ("status", status)));
            query.extend(list.plan.map(|plan| ("plan_id", plan)));
            query.extend(list.cursor.map(|cursor| ("cursor", cursor)));
            let columns = [
                ("execution", "/execution_id"),
                ("status", "/status"),
                ("reason", "/reason"),
                ("plan", "/plan_id"),
                ("created", "/created_at"),
            ];
            page(output, &api.get("/v1/executions", &query).await?, &columns)?;
        }
        Command::Get(named) => {
            let execution = api.get(&path(&named.execution_id, ""), &[]).await?;
            let fields = [
                ("execution", "/execution_id"),
                ("status", "/status"),
                ("reason", "/reason"),
                ("plan", "/plan_id"),
                ("started by", "/requested_by"),
                ("created", "/created_at"),
                ("completed", "/completed_at"),
            ];
            output.show(&execution, |output| output.fields(&execution, &fields))?;
            return Ok(follow::ended(&text(&execution, "/status")).unwrap_or(Exit::Ok));
        }
        Command::Steps(named) => {
            let steps = api.get(&path(&named.execution_id, "/steps"), &[]).await?;
            let columns = [
                ("step", "/ordinal"),
                ("stage", "/stage"),
                ("tool", "/tool"),
                ("action", "/action"),
                ("status", "/status"),
                ("attempts", "/attempts"),
                ("rollback", "/rollback_status"),
            ];
            output.show(&steps, |output| output.rows(list_of(&steps, "/data"), &columns))?;
        }
        Command::Logs(logs) => return follow::logs(api, output, &logs.execution_id, logs.follow).await,
        Command::Cancel(named) => {
            let answer = api
                .post(&path(&named.execution_id, "/cancel"), &json!({}))
                .await?;
            output.show(&answer, |output| output.line("asked to stop"))?;
        }
        Command::Resolve(resolve) => {
            let word = match resolve.resolution {
                Resolution::Done => "done",
                Resolution::NotDone => "not_done",
                Resolution::Abandon => "abandon",
            };
            let body = without_nulls(json!({"step": resolve.step, "as": word, "note": resolve.note}));
            let answer = api.post(&path(&resolve.execution_id, "/resolve"), &body).await?;
            output.show(&answer, |output| {
                output.line(&format!("step {} is settled as {word}", resolve.step));
            })?;
        }
        Command::Rollback(rollback) => {
            let body = without_nulls(json!({"note": rollback.note}));
            let answer = api
                .post(&path(&rollback.execution_id, "/rollback"), &body)
                .await?;
            output.show(&answer, |output| output.line("asked to roll back"))?;
        }
    }
    Ok(Exit::Ok)
}

/// Runs a subcommand of `evidence`.
pub(super) async fn evidence(api: &Api, command: Evidence) -> anyhow::Result<Exit> {
    let Evidence::Export(export) = command;
    let bundle = api
        .bytes(&format!("/v1/executions/{}/evidence", export.execution_id))
        .await?;
    std::fs::write(&export.file, &bundle).with_context(|| format!("writing {}", export.file.display()))?;
    Ok(Exit::Ok)
}
