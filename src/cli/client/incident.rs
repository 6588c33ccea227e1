//! `carapulse incident` and `carapulse audit list`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    http::Api,
    output::{Output, text},
    plan::{list_of, page},
};
use crate::cli::Exit;

/// Subcommands of `incident`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Incidents, newest first
    List(List),
    /// One incident: its alerts, its findings, its plans
    Get(Named),
}

/// An incident by its id.
#[derive(Debug, Args)]
pub struct Named {
    /// incident_…
    incident_id: String,
}

/// `incident list`.
#[derive(Debug, Args)]
pub struct List {
    /// open or resolved
    #[arg(long)]
    status: Option<String>,
    /// Rows a page
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// `audit list`.
#[derive(Debug, Clone, Args)]
pub struct AuditList {
    /// plan.create, approval.grant, execution.finish, …
    #[arg(long)]
    action: Option<String>,
    /// By whom
    #[arg(long)]
    actor: Option<String>,
    /// allow, deny, require_approval or none
    #[arg(long)]
    decision: Option<String>,
    /// About this plan
    #[arg(long)]
    plan: Option<String>,
    /// About this execution
    #[arg(long)]
    execution: Option<String>,
    /// Recorded at or after (RFC 3339)
    #[arg(long)]
    from: Option<String>,
    /// Recorded before (RFC 3339)
    #[arg(long)]
    to: Option<String>,
    /// Rows a page
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Runs a subcommand of `incident`.
pub(super) async fn run(api: &Api, output: &Output, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(list) => {
            let mut query = vec![("limit", list.limit.to_string())];
            query.extend(list.status.map(|status| ("status", status)));
            query.extend(list.cursor.map(|cursor| ("cursor", cursor)));
            let columns = [
                ("incident", "/incident_id"),
                ("status", "/status"),
                ("stage", "/stage"),
                ("title", "/title"),
                ("opened", "/opened_at"),
            ];
            page(output, &api.get("/v1/incidents", &query).await?, &columns)?;
        }
        Command::Get(named) => {
            let incident = api
                .get(&format!("/v1/incidents/{}", named.incident_id), &[])
                .await?;
            output.show(&incident, |output| show(output, &incident))?;
        }
    }
    Ok(Exit::Ok)
}

/// Runs `audit list`.
pub(super) async fn audit_list(api: &Api, output: &Output, list: AuditList) -> anyhow::Result<Exit> {
    let mut query = vec![("limit", list.limit.to_string())];
    let filters = [
        ("action", list.action),
        ("actor_id", list.actor),
        ("decision", list.decision),
        ("plan_id", list.plan),
        ("execution_id", list.execution),
        ("from", list.from),
        ("to", list.to),
        ("cursor", list.cursor),
    ];
    query.extend(filters.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let columns = [
        ("position", "/position"),
        ("at", "/at"),
        ("actor", "/actor/name"),
        ("action", "/action"),
        ("decision", "/decision"),
        ("subject", "/subject"),
    ];
    page(output, &api.get("/v1/audit/events", &query).await?, &columns)?;
    Ok(Exit::Ok)
}

fn show(output: &Output, incident: &Value) {
    output.fields(
        incident,
        &[
            ("incident", "/incident_id"),
            ("title", "/title"),
            ("status", "/status"),
            ("stage", "/stage"),
            ("opened", "/opened_at"),
            ("resolved", "/resolved_at"),
        ],
    );
    for signal in list_of(incident, "/signals") {
        let parts =
            ["/alertname", "/service", "/status", "/occurrences"].map(|pointer| text(signal, pointer));
        output.line(&format!(
            "alert: {} {} {} (x{})",
            parts[0], parts[1], parts[2], parts[3]
        ));
    }
    for diagnosis in list_of(incident, "/diagnoses").iter().take(1) {
        output.line(&format!("diagnosis: {}", text(diagnosis, "/verdict")));
        for finding in list_of(diagnosis, "/findings") {
            let parts = ["/rule", "/confidence", "/title"].map(|pointer| text(finding, pointer));
            output.line(&format!("  {} ({}): {}", parts[0], parts[1], parts[2]));
        }
    }
    for plan in list_of(incident, "/plans") {
        output.line(&format!("plan: {}", text(plan, "")));
    }
}
