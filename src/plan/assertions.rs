//! How success of a step is measured when nobody said: what its kind calls for.

use serde_json::{Value, json};

use super::AssertionRequest;
use crate::domain::plan::{Args, Comparison};

/// The assertions that one write calls for. `prior` is what was read of the thing before.
pub(super) fn of_write(
    tool: &str,
    action: &str,
    args: &Args,
    prior: Option<&Value>,
) -> Vec<AssertionRequest> {
    let resource = args.get("resource").and_then(Value::as_str).unwrap_or_default();
    match (tool, action) {
        ("kubectl", "scale") => {
            let replicas = args.get("replicas").and_then(Value::as_i64).unwrap_or_default();
            let mut list = vec![rolled_out(resource), spec_replicas(resource, replicas)];
            list.extend(available(resource, replicas));
            list
        }
        ("kubectl", "rollout_restart" | "rollout_undo") => {
            let replicas = prior.and_then(|value| value.pointer("/spec/replicas")?.as_i64());
            let mut list = vec![rolled_out(resource)];
            list.extend(replicas.and_then(|replicas| available(resource, replicas)));
            list
        }
        ("git", "revert") => {
            let head = prior.and_then(|value| value.pointer("/0/commit")?.as_str());
            let moved = |head: &str| AssertionRequest {
                name: Some("the branch has moved on".to_owned()),
                tool: "git".to_owned(),
                action: "head".to_owned(),
                args: Args::new(),
                pointer: "/0/commit".to_owned(),
                op: Comparison::Ne,
                value: head.to_owned(),
            };
            head.map(moved).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// That one number which PromQL answers is below `limit` (a decimal number), as for an alert that should stop.
#[must_use]
pub fn metric_below(name: &str, query: &str, limit: &str) -> AssertionRequest {
    AssertionRequest {
        name: Some(name.to_owned()),
        tool: "prometheus".to_owned(),
        action: "query".to_owned(),
        // One series in, one sample out: several would leave open which one is meant.
        args: [("query".to_owned(), json!(format!("max({query})")))].into(),
        pointer: "/data/result/0/value/1".to_owned(),
        op: Comparison::Lt,
        value: limit.to_owned(),
    }
}

fn rolled_out(resource: &str) -> AssertionRequest {
    AssertionRequest {
        name: Some(format!("{resource} is rolled out")),
        tool: "kubectl".to_owned(),
        action: "rollout_status".to_owned(),
        args: of_resource(resource),
        pointer: "/complete".to_owned(),
        op: Comparison::Eq,
        value: "true".to_owned(),
    }
}

fn spec_replicas(resource: &str, replicas: i64) -> AssertionRequest {
    AssertionRequest {
        name: Some(format!("{resource} asks for {replicas} replicas")),
        tool: "kubectl".to_owned(),
        action: "get".to_owned(),
        args: of_resource(resource),
        pointer: "/spec/replicas".to_owned(),
        op: Comparison::Eq,
        value: replicas.to_string(),
    }
}

/// Kubernetes leaves the field out when it is 0: then the roll-out alone has to say it.
fn available(resource: &str, replicas: i64) -> Option<AssertionRequest> {
    (replicas > 0).then(|| AssertionRequest {
        name: Some(format!("{replicas} replicas of {resource} are available")),
        tool: "kubectl".to_owned(),
        action: "get".to_owned(),
        args: of_resource(resource),
        pointer: "/status/availableReplicas".to_owned(),
        op: Comparison::Eq,
        value: replicas.to_string(),
    })
}

fn of_resource(resource: &str) -> Args {
    [("resource".to_owned(), json!(resource))].into()
}
