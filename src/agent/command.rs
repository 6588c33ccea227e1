//! What a slash command asks for.

use std::borrow::Cow;

/// A command that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `plan [on:TARGET] <intent>`.
    Plan {
        /// The target, when the command names one.
        target: Option<String>,
        /// What is wanted.
        intent: String,
    },
    /// `status <exec_… | plan_…>`.
    Status {
        /// The path that answers.
        path: String,
    },
}

/// What is said when a command is not understood.
const HELP: &str = "Usage: `plan [on:TARGET] <what you want>` or `status <exec_… or plan_…>`. \
    Approve on the command line: `carapulse plan approve`.";

/// Reads Slack's form body; its `text` is the command. The error is what to answer.
pub(super) fn parse(body: &[u8]) -> Result<Command, String> {
    let form: Vec<(Cow<'_, str>, Cow<'_, str>)> = url::form_urlencoded::parse(body).collect();
    let text = form
        .iter()
        .find(|(key, _)| key == "text")
        .map(|(_, value)| value.trim())
        .unwrap_or_default();
    let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match verb {
        "plan" if !rest.is_empty() => Ok(plan(rest)),
        "status" => {
            status(rest).ok_or_else(|| format!("`status` wants the id of an execution or a plan. {HELP}"))
        }
        _ => Err(HELP.to_owned()),
    }
}

fn plan(rest: &str) -> Command {
    let (first, others) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match first.strip_prefix("on:") {
        Some(target) if !others.trim().is_empty() => Command::Plan {
            target: Some(target.to_owned()),
            intent: others.trim().to_owned(),
        },
        _ => Command::Plan {
            target: None,
            intent: rest.to_owned(),
        },
    }
}

/// Only a whole id becomes part of a path.
fn status(id: &str) -> Option<Command> {
    use crate::domain::{ExecutionId, PlanId};
    let path = match (id.parse::<ExecutionId>(), id.parse::<PlanId>()) {
        (Ok(id), _) => format!("/v1/executions/{id}"),
        (_, Ok(id)) => format!("/v1/plans/{id}"),
        _ => return None,
    };
    Some(Command::Status { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, String> {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("user_id", "U1")
            .append_pair("text", text)
            .finish();
        parse(body.as_bytes())
    }

    #[test]
    fn plan_and_status_are_understood_and_nothing_approves() {
        let plan = |target: Option<&str>, intent: &str| {
            Ok(Command::Plan {
                target: target.map(str::to_owned),
                intent: intent.to_owned(),
            })
        };
        assert_eq!(
            read("plan scale checkout to 5"),
            plan(None, "scale checkout to 5")
        );
        assert_eq!(
            read("  plan  on:shop-prod  restart cart "),
            plan(Some("shop-prod"), "restart cart")
        );
        let id = "exec_00000000000000000000000000000001";
        assert_eq!(
            read(&format!("status {id}")),
            Ok(Command::Status {
                path: format!("/v1/executions/{id}")
            })
        );
        for text in [
            "",
            "plan",
            "status",
            "status ../v1/freeze",
            "status exec_1?x",
            "approve plan_1",
            "audit",
        ] {
            assert!(read(text).expect_err(text).contains("Usage"), "{text}");
        }
    }
}
