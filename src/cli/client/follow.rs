//! Following an execution to its end, over as many connections as it takes.

use std::time::Duration;

use serde_json::Value;

use super::{
    http::{Api, is_passing},
    output::{Format, Output, text},
    sse::{Event, Reader},
};
use crate::cli::{Exit, Failure};

const TRIES: u32 = 20;

/// Streams the log of an execution; with `follow` until it ends, otherwise what is there now.
pub(super) async fn logs(api: &Api, output: &Output, id: &str, follow: bool) -> anyhow::Result<Exit> {
    let path = format!("/v1/executions/{id}/logs");
    let query = [("follow", follow.to_string())];
    let (mut reader, mut failures) = (Reader::default(), 0);
    loop {
        reader.restart();
        match api.stream(&path, &query, reader.last_id.as_deref()).await {
            Ok(mut response) => {
                while let Ok(Some(bytes)) = response.chunk().await {
                    failures = 0;
                    for event in reader.push(&bytes) {
                        if let Some(exit) = show(output, &event) {
                            return Ok(if follow { exit } else { Exit::Ok });
                        }
                    }
                }
            }
            Err(error) if !is_passing(&error) => return Err(error),
            Err(_) => {}
        }
        failures += 1;
        if failures > TRIES {
            return Err(Failure::of(
                Exit::Unavailable,
                "the stream broke off and the gateway does not come back; run it again",
            ));
        }
        tokio::time::sleep(Duration::from_millis(200 * u64::from(failures.min(20)))).await;
    }
}

/// Waits until an execution has ended or waits for a person.
pub(super) async fn wait(api: &Api, id: &str) -> anyhow::Result<(Value, Exit)> {
    let mut failures = 0;
    loop {
        match api.get(&format!("/v1/executions/{id}"), &[]).await {
            Ok(execution) => {
                failures = 0;
                if let Some(exit) = ended(&text(&execution, "/status")) {
                    return Ok((execution, exit));
                }
            }
            Err(error) if is_passing(&error) && failures < TRIES => failures += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The exit code of a status at which nothing moves any more; none while it moves.
pub(super) fn ended(status: &str) -> Option<Exit> {
    match status {
        "succeeded" => Some(Exit::Ok),
        "needs_attention" => Some(Exit::NeedsAttention),
        "failed" | "rolled_back" | "rollback_failed" | "cancelled" => Some(Exit::ExecutionFailed),
        _ => None,
    }
}

/// Shows one event; the exit code when it was the last.
fn show(output: &Output, event: &Event) -> Option<Exit> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    match (event.name.as_str(), output.format) {
        ("step" | "log", Format::Json | Format::Yaml) => output.line(&data.to_string()),
        ("step", Format::Table) => output.line(&format!(
            "{}  -- {}",
            text(&data, "/timestamp"),
            text(&data, "/message")
        )),
        ("log", Format::Table) => {
            output.line(&format!(
                "{}  {} {}",
                text(&data, "/timestamp"),
                text(&data, "/stream"),
                text(&data, "/message")
            ));
        }
        ("end", format) => {
            let status = text(&data, "/status");
            match format {
                Format::Table => output.line(&format!("the execution is {status}")),
                Format::Json | Format::Yaml => output.line(&data.to_string()),
            }
            return Some(ended(&status).unwrap_or(Exit::Ok));
        }
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_ends_with_zero() {
        assert_eq!(ended("succeeded"), Some(Exit::Ok));
        assert_eq!(ended("rolled_back"), Some(Exit::ExecutionFailed));
        assert_eq!(ended("needs_attention"), Some(Exit::NeedsAttention));
        assert_eq!(ended("running"), None);
    }
}
