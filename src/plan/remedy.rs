//! What a diagnosis would have done, as typed steps. The same steps as an intent gives; nothing passes by the checks.

use serde_json::json;

use super::{StepRequest, resolve::step};
use crate::{diagnose::Remedy, domain::Target};

/// The steps of `remedy` on `target`, or what it lacks.
pub(super) fn steps(remedy: &Remedy, target: &Target) -> Result<Vec<StepRequest>, String> {
    let step = match remedy {
        Remedy::RevertCommit {
            repo,
            branch,
            commit,
            path,
        } => {
            let git = target
                .git
                .as_ref()
                .filter(|git| git.url == *repo && git.branch == *branch);
            if git.is_none() {
                return Err(format!(
                    "{branch} of the diagnosed repository is not what `{}` is deployed from",
                    target.name
                ));
            }
            StepRequest {
                reason: Some(format!("{} changed {path}", commit.get(..12).unwrap_or(commit))),
                ..step("git", "revert", [("commit", json!(commit))])
            }
        }
        Remedy::RollOutUndo {
            workload,
            to_revision,
        } => step(
            "kubectl",
            "rollout_undo",
            [
                ("resource", json!(workload.to_string())),
                ("revision", json!(to_revision)),
            ],
        ),
        Remedy::Restart { workload } => step(
            "kubectl",
            "rollout_restart",
            [("resource", json!(workload.to_string()))],
        ),
        Remedy::Scale { workload, from, to } => StepRequest {
            expected_prior: [("replicas".to_owned(), from.to_string())].into(),
            ..step(
                "kubectl",
                "scale",
                [("resource", json!(workload.to_string())), ("replicas", json!(to))],
            )
        },
    };
    Ok(vec![step])
}
