//! Intents to typed steps: names against the target, commits and revisions against what is read there.

use serde_json::{Value, json};

use super::{Intent, PriorReader, StepRequest};
use crate::domain::{Target, plan::Args};

/// The steps of `intent` on `target`, or what it lacks.
pub(super) async fn steps(
    intent: &Intent,
    target: &Target,
    reader: &dyn PriorReader,
) -> Result<Vec<StepRequest>, String> {
    let step = match intent {
        Intent::Scale { service, replicas } => step(
            "kubectl",
            "scale",
            [
                ("resource", json!(workload(target, service)?)),
                ("replicas", json!(replicas)),
            ],
        ),
        Intent::Restart { service } => step(
            "kubectl",
            "rollout_restart",
            [("resource", json!(workload(target, service)?))],
        ),
        Intent::RollBack { service, to_revision } => {
            let resource = workload(target, service)?;
            let revision = match to_revision {
                Some(revision) => *revision,
                None => previous_revision(target, reader, &resource).await?,
            };
            step(
                "kubectl",
                "rollout_undo",
                [("resource", json!(resource)), ("revision", json!(revision))],
            )
        }
        Intent::Revert {
            commit,
            last_change_of,
        } => {
            let commits = commits(target, reader).await?;
            let commit = match (commit, last_change_of) {
                (Some(prefix), None) => unique_commit(&commits, prefix)?,
                (None, Some(service)) => last_change(&commits, target, service)?,
                _ => {
                    return Err(
                        "either a commit or a service whose last change is meant, and not both".to_owned(),
                    );
                }
            };
            step("git", "revert", [("commit", json!(commit))])
        }
    };
    Ok(vec![step])
}

/// A step without a reason of its own.
pub(super) fn step<const N: usize>(tool: &str, action: &str, args: [(&str, Value); N]) -> StepRequest {
    StepRequest {
        tool: tool.to_owned(),
        action: action.to_owned(),
        args: args.map(|(name, value)| (name.to_owned(), value)).into(),
        ..StepRequest::default()
    }
}

/// The workload that a name means on this target: its own map of services, or `kind/name`.
fn workload(target: &Target, name: &str) -> Result<String, String> {
    if let Some((kind, rest)) = name.split_once('/') {
        let known = ["deployment", "statefulset", "daemonset"].contains(&kind) && !rest.is_empty();
        return if known {
            Ok(name.to_owned())
        } else {
            Err(format!(
                "`{name}` is not deployment/NAME, statefulset/NAME or daemonset/NAME"
            ))
        };
    }
    target.services.get(name).cloned().ok_or_else(|| {
        let known: Vec<_> = target.services.keys().map(String::as_str).collect();
        format!(
            "`{name}` is not a service of target `{}`; known are: {}",
            target.name,
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )
    })
}

async fn previous_revision(target: &Target, reader: &dyn PriorReader, resource: &str) -> Result<u32, String> {
    let args = Args::from([("resource".to_owned(), json!(resource))]);
    let answer = read(target, reader, "kubectl", "rollout_history", &args).await?;
    let text = answer
        .pointer("/text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut revisions: Vec<u32> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    revisions.sort_unstable();
    let before_last = revisions
        .len()
        .checked_sub(2)
        .and_then(|index| revisions.get(index));
    before_last
        .copied()
        .ok_or_else(|| format!("{resource} has no earlier revision to go back to"))
}

/// A commit of the deployed branch, with the paths that it touched.
struct Commit {
    id: String,
    paths: Vec<String>,
}

async fn commits(target: &Target, reader: &dyn PriorReader) -> Result<Vec<Commit>, String> {
    let args = Args::from([("limit".to_owned(), json!(200))]);
    let answer = read(target, reader, "git", "log", &args).await?;
    let text = answer
        .pointer("/text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut commits: Vec<Commit> = Vec::new();
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("commit ") {
            commits.push(Commit {
                id: id.trim().to_owned(),
                paths: Vec::new(),
            });
        } else if let (Some((status, path)), Some(commit)) = (line.split_once('\t'), commits.last_mut())
            && status.len() <= 4
        {
            commit.paths.push(path.to_owned());
        }
    }
    Ok(commits)
}

fn unique_commit(commits: &[Commit], prefix: &str) -> Result<String, String> {
    let digits = prefix.len() >= 7 && prefix.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found = commits
        .iter()
        .filter(|commit| digits && commit.id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(commit), None) => Ok(commit.id.clone()),
        (Some(_), Some(_)) => Err(format!("`{prefix}` begins several commits: give more digits")),
        (None, _) => Err(format!(
            "`{prefix}` is not one of the last {} commits of the deployed branch",
            commits.len()
        )),
    }
}

/// The newest commit that touched a file or folder of the service's or its workload's name.
fn last_change(commits: &[Commit], target: &Target, service: &str) -> Result<String, String> {
    let workload = workload(target, service)?;
    let name = workload
        .split_once('/')
        .map_or(workload.as_str(), |(_, name)| name);
    let is_its = |path: &String| {
        path.split('/').any(|part| {
            let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
            stem == service || stem == name
        })
    };
    let found = commits.iter().find(|commit| commit.paths.iter().any(is_its));
    found.map(|commit| commit.id.clone()).ok_or_else(|| {
        format!(
            "none of the last {} commits touched a file named after `{service}`",
            commits.len()
        )
    })
}

async fn read(
    target: &Target,
    reader: &dyn PriorReader,
    tool: &str,
    action: &str,
    args: &Args,
) -> Result<Value, String> {
    let answer = reader.read(target.target_id, tool, action, args).await;
    answer.map_err(|why| format!("{tool}.{action} could not be read: {why}"))
}
