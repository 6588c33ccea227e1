//! `/v1/workflows`: the five named workflows, as far as the catalogue's tools carry them. Each becomes a plan like any other.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::proposing::{self, Context, Wish};
use crate::{
    domain::plan::Trigger,
    gateway::{
        Gateway,
        access::Proposer,
        idempotency::IdempotencyKey,
        page::Id,
        problem::{Kind, Problem},
        strict::Strict,
    },
    plan::{Intent, Limits, Timing, What},
};

/// Name, what it does, and what it needs that this installation has not got.
const WORKFLOWS: [(&str, &str, Option<&str>); 5] = [
    (
        "scale_service",
        "Sets the number of replicas of a service, and scales back if it does not help.",
        None,
    ),
    (
        "gitops_deploy",
        "With `strategy: rollback`: reverts the last change of a service in its GitOps repository.",
        None,
    ),
    (
        "helm_release",
        "Upgrades or rolls back a Helm release.",
        Some("the tool `helm`"),
    ),
    (
        "incident_remediation",
        "Diagnoses and remedies an incident.",
        Some("the tools `tempo` and `pagerduty`; alerts are diagnosed without it"),
    ),
    (
        "secret_rotation",
        "Rotates a secret and updates what depends on it.",
        Some("the tool `vault`"),
    ),
];

/// What starts a workflow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Start {
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    context: Option<Context>,
    #[serde(default)]
    input: Map<String, Value>,
    #[serde(default)]
    constraints: Limits,
    #[serde(default)]
    verification: Timing,
}

/// `GET /v1/workflows`.
pub(in crate::gateway) async fn list() -> Response {
    let rows: Vec<_> = WORKFLOWS
        .iter()
        .map(|(name, description, missing)| json!({"name": name, "description": description, "available": missing.is_none(), "missing": missing}))
        .collect();
    Json(json!({"data": rows})).into_response()
}

/// `POST /v1/workflows/{name}/start`: the plan asks for its approval as every plan does.
pub(in crate::gateway) async fn start(
    State(gateway): State<Gateway>,
    proposer: Proposer,
    Id(name): Id<String>,
    key: IdempotencyKey,
    body: Strict<Start>,
) -> Result<Response, Problem> {
    let known = WORKFLOWS.iter().find(|(known, _, _)| *known == name);
    let Some((_, _, missing)) = known else {
        return Err(Problem::not_found("workflow", name));
    };
    if let Some(missing) = missing {
        let detail = format!("`{name}` needs {missing}, which this installation does not have");
        return Err(Problem::new(Kind::WorkflowUnavailable, detail));
    }
    let Strict { value: start, raw } = body;
    let intent = if name == "scale_service" {
        scale(&start.input)?
    } else {
        deploy(&start.input)?
    };
    // The name is part of what an idempotency key covers.
    let mut covered = name.into_bytes();
    covered.extend_from_slice(&raw);
    let wish = Wish {
        route: "POST /v1/workflows/{name}/start",
        trigger: Trigger::Workflow,
        target: start.target,
        context: start.context,
        summary: None,
        what: What::Intent(intent),
        assertions: Vec::new(),
        timing: start.verification,
        limits: start.constraints,
    };
    proposing::create(&gateway, proposer, key, &covered, wish).await
}

fn scale(input: &Map<String, Value>) -> Result<Intent, Problem> {
    only(input, &["resource", "service", "replicas"])?;
    let service = text(input, "service")?
        .or(text(input, "resource")?)
        .ok_or_else(|| missing("service"))?;
    let service = service.rsplit('/').next().unwrap_or(&service).to_owned();
    let replicas = input.get("replicas").ok_or_else(|| missing("replicas"))?;
    let replicas = replicas.as_u64().and_then(|n| u32::try_from(n).ok());
    let wrong = || {
        Problem::new(Kind::WrongType, "`replicas` is a whole number")
            .at("/input/replicas", "not a whole number")
    };
    Ok(Intent::Scale {
        service,
        replicas: replicas.ok_or_else(wrong)?,
    })
}

fn deploy(input: &Map<String, Value>) -> Result<Intent, Problem> {
    only(input, &["strategy", "service", "commit", "app", "argocd_app"])?;
    if text(input, "strategy")?.as_deref() != Some("rollback") {
        let detail = "`gitops_deploy` needs the tool `argocd` to sync; only `strategy: rollback` runs here, by a revert in git";
        return Err(
            Problem::new(Kind::WorkflowUnavailable, detail).at("/input/strategy", "must be `rollback` here")
        );
    }
    let commit = text(input, "commit")?;
    let service = text(input, "service")?
        .or(text(input, "app")?)
        .or(text(input, "argocd_app")?);
    match (commit, service) {
        (Some(commit), _) => Ok(Intent::Revert {
            commit: Some(commit),
            last_change_of: None,
        }),
        (None, Some(service)) => Ok(Intent::Revert {
            commit: None,
            last_change_of: Some(service),
        }),
        (None, None) => Err(missing("service")),
    }
}

fn only(input: &Map<String, Value>, known: &[&str]) -> Result<(), Problem> {
    match input.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let detail = format!("unknown input `{key}`, expected one of {known:?}");
            Err(Problem::new(Kind::UnknownField, detail).at(format!("/input/{key}"), "unknown"))
        }
        None => Ok(()),
    }
}

fn text(input: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match input.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => {
            let detail = format!("`{key}` is a text that is not empty");
            Err(Problem::new(Kind::WrongType, detail).at(format!("/input/{key}"), "not a text"))
        }
    }
}

fn missing(key: &str) -> Problem {
    Problem::new(Kind::MissingField, format!("missing input `{key}`")).at(format!("/input/{key}"), "missing")
}
