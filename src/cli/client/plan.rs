//! `carapulse plan`: ask, read, approve, execute.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    follow,
    http::Api,
    output::{Output, text},
};
use crate::cli::{Exit, Failure};

/// Subcommands of `plan`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for a plan, by a sentence or by typed steps
    Create(Create),
    /// Plans, newest first
    List(List),
    /// One plan: steps, digest, approvals
    Get(Named),
    /// What each step changes, before and after
    Diff(Named),
    /// What is at stake
    Risk(Named),
    /// Say yes to exactly the digest that you have seen
    Approve(Approve),
    /// Say no
    Deny(Deny),
    /// Start an approved plan
    Execute(Execute),
}

/// A plan by its id.
#[derive(Debug, Args)]
pub struct Named {
    /// plan_…
    plan_id: String,
}

/// `plan create`.
#[derive(Debug, Args)]
pub struct Create {
    /// What is wanted, in a sentence: "scale checkout to 5"
    #[arg(long, required_unless_present = "steps", conflicts_with = "steps")]
    intent: Option<String>,
    /// Typed steps: JSON, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    steps: Option<String>,
    /// The registered place
    #[arg(long)]
    target: String,
    /// One line for people
    #[arg(long)]
    summary: Option<String>,
    /// Limits of the run: JSON, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    constraints: Option<String>,
    /// The same key gives the same plan, however often it is sent
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// `plan list`.
#[derive(Debug, Args)]
pub struct List {
    /// draft, pending_approval, approved, denied, expired, superseded or executed
    #[arg(long)]
    status: Option<String>,
    /// Only those of this place
    #[arg(long)]
    target: Option<String>,
    /// Rows a page
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// `plan approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// plan_…
    plan_id: String,
    /// The digest that was seen; needed when nobody can be asked
    #[arg(long)]
    digest: Option<String>,
    /// Do not ask; needs --digest
    #[arg(long, short, requires = "digest")]
    yes: bool,
    /// Why, for the audit log
    #[arg(long)]
    note: Option<String>,
}

/// `plan deny`.
#[derive(Debug, Args)]
pub struct Deny {
    /// plan_…
    plan_id: String,
    /// Why, for the audit log
    #[arg(long)]
    note: Option<String>,
}

/// `plan execute`.
#[derive(Debug, Args)]
pub struct Execute {
    /// plan_…
    plan_id: String,
    /// Wait for the end; the exit code tells how it ended
    #[arg(long)]
    wait: bool,
}

/// Columns of the list.
const COLUMNS: [(&str, &str); 6] = [
    ("plan", "/plan_id"),
    ("status", "/status"),
    ("risk", "/risk_level"),
    ("target", "/target"),
    ("summary", "/summary"),
    ("created", "/created_at"),
];

/// Runs a subcommand.
pub(super) async fn run(api: &Api, output: &Output, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(create) => return self::create(api, output, create).await,
        Command::Approve(approve) => return self::approve(api, output, approve).await,
        Command::Execute(execute) => return self::execute(api, output, execute).await,
        Command::List(list) => {
            let mut query = vec![("limit", list.limit.to_string())];
            query.extend(list.status.map(|status| ("status", status)));
            query.extend(list.target.map(|target| ("target", target)));
            query.extend(list.cursor.map(|cursor| ("cursor", cursor)));
            let answer = api.get("/v1/plans", &query).await?;
            page(output, &answer, &COLUMNS)?;
        }
        Command::Get(named) => {
            let plan = api.get(&format!("/v1/plans/{}", named.plan_id), &[]).await?;
            output.show(&plan, |output| show(output, &plan))?;
        }
        Command::Diff(named) => {
            let diff = api.get(&format!("/v1/plans/{}/diff", named.plan_id), &[]).await?;
            let columns = [
                ("step", "/ordinal"),
                ("call", "/call"),
                ("before", "/before"),
                ("after", "/after"),
                ("undo", "/undo"),
            ];
            output.show(&diff, |output| output.rows(list_of(&diff, "/changes"), &columns))?;
        }
        Command::Risk(named) => {
            let risk = api.get(&format!("/v1/plans/{}/risk", named.plan_id), &[]).await?;
            output.show(&risk, |output| {
                output.fields(
                    &risk,
                    &[("risk", "/risk_level"), ("tier", "/tier"), ("writes", "/writes")],
                );
                for reason in list_of(&risk, "/reasons") {
                    output.line(&format!("  {}", text(reason, "")));
                }
            })?;
        }
        Command::Deny(deny) => {
            let body = json!({"plan_id": deny.plan_id, "status": "denied", "approver_note": deny.note});
            let answer = api.post("/v1/approvals", &without_nulls(body)).await?;
            output.show(&answer, |output| output.line(&format!("denied {}", deny.plan_id)))?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(api: &Api, output: &Output, create: Create) -> anyhow::Result<Exit> {
    let mut body = json!({"target": create.target});
    if let Some(intent) = create.intent {
        body["intent"] = intent.into();
    }
    if let Some(steps) = create.steps {
        body["steps"] = literal_or_file("--steps", &steps)?;
    }
    if let Some(constraints) = create.constraints {
        body["constraints"] = literal_or_file("--constraints", &constraints)?;
    }
    if let Some(summary) = create.summary {
        body["summary"] = summary.into();
    }
    let answer = match create.idempotency_key {
        Some(key) => api.post_once("/v1/plans", &key, &body).await?,
        None => api.post("/v1/plans", &body).await?,
    };
    output.show(&answer, |output| show(output, &answer["plan"]))?;
    Ok(Exit::Ok)
}

/// Shows the steps and asks; approves the digest that was shown, or the one given if it is still the plan's.
async fn approve(api: &Api, output: &Output, approve: Approve) -> anyhow::Result<Exit> {
    let interactive = std::io::stdin().is_terminal();
    if approve.digest.is_none() && !interactive {
        let message = "nobody can be asked here: give the digest that was seen with --digest";
        return Err(Failure::of(Exit::Usage, message));
    }
    let plan = api.get(&format!("/v1/plans/{}", approve.plan_id), &[]).await?;
    let shown = text(&plan, "/digest");
    let digest = approve.digest.unwrap_or_else(|| shown.clone());
    if digest != shown {
        let message =
            format!("the plan's digest is {shown}, not {digest}: look at it again with `carapulse plan get`");
        return Err(Failure::of(Exit::Conflict, message));
    }
    if !approve.yes && interactive {
        show(output, &plan);
        if !asked("Approve exactly these steps? Type `yes`: ")? {
            return Err(Failure::of(Exit::Failed, "not approved"));
        }
    }
    let body = json!({"plan_id": approve.plan_id, "digest": digest, "status": "approved", "approver_note": approve.note});
    let answer = api.post("/v1/approvals", &without_nulls(body)).await?;
    output.show(&answer, |output| {
        output.line(&format!("approved {} ({digest})", approve.plan_id));
    })?;
    Ok(Exit::Ok)
}

async fn execute(api: &Api, output: &Output, execute: Execute) -> anyhow::Result<Exit> {
    let plan_id = &execute.plan_id;
    // A plan is executed once: its own id makes a repeated request safe.
    let path = format!("/v1/plans/{plan_id}:execute");
    let started = api
        .post_once(&path, &format!("execute-{plan_id}"), &json!({}))
        .await?;
    let execution_id = text(&started, "/execution_id");
    if !execute.wait {
        output.show(&started, |output| output.line(&execution_id))?;
        return Ok(Exit::Ok);
    }
    let (execution, exit) = follow::wait(api, &execution_id).await?;
    output.show(&execution, |output| {
        output.line(&format!("{execution_id} {}", text(&execution, "/status")));
    })?;
    Ok(exit)
}

/// A plan for people: every step, whole.
fn show(output: &Output, plan: &Value) {
    output.fields(
        plan,
        &[
            ("plan", "/plan_id"),
            ("status", "/status"),
            ("summary", "/summary"),
            ("target", "/target"),
            ("environment", "/context/environment"),
            ("risk", "/risk_level"),
            ("tier", "/tier"),
            ("requester", "/requester/name"),
            ("lacks", "/lacks"),
            ("digest", "/digest"),
        ],
    );
    for step in list_of(plan, "/steps") {
        let call = format!("{}.{}", text(step, "/tool"), text(step, "/action"));
        output.line(&format!(
            "step {} [{}] {call} {}",
            text(step, "/ordinal"),
            text(step, "/stage"),
            text(step, "/input")
        ));
        output.fields(
            step,
            &[
                ("  why", "/reason"),
                ("  risk", "/risk_level"),
                ("  expects", "/expected_prior"),
                ("  undone by", "/rollback"),
            ],
        );
    }
    for assertion in list_of(plan, "/verification/assertions") {
        let parts = ["/name", "/op", "/value"].map(|pointer| text(assertion, pointer));
        output.line(&format!("success: {} {} {}", parts[0], parts[1], parts[2]));
    }
    for approval in list_of(plan, "/approvals") {
        let parts = ["/status", "/approver", "/expires_at"].map(|pointer| text(approval, pointer));
        output.line(&format!("approval: {} {} until {}", parts[0], parts[1], parts[2]));
    }
}

/// A page of a list, with the cursor of the next.
pub(super) fn page(output: &Output, answer: &Value, columns: &[(&str, &str)]) -> anyhow::Result<()> {
    output.show(answer, |output| {
        output.rows(list_of(answer, "/data"), columns);
        let cursor = text(answer, "/pagination/next_cursor");
        if !cursor.is_empty() {
            output.line(&format!("more: --cursor {cursor}"));
        }
    })
}

/// The list at a pointer, or nothing.
pub(super) fn list_of<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// An object without the keys that are null: the API knows no nulls.
pub(super) fn without_nulls(mut body: Value) -> Value {
    if let Some(map) = body.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    body
}

fn literal_or_file(flag: &str, given: &str) -> anyhow::Result<Value> {
    let text = match given.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(Path::new(path)).with_context(|| format!("{flag}: reading {path}"))?
        }
        None => given.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::of(Exit::Usage, format!("{flag} is not JSON: {error}")))
}

fn asked(question: &str) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
