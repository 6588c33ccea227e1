//! Why a draft is no plan.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy;

/// One thing that is wrong with a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// JSON pointer into the request (`/steps/0/args/replicas`); empty for the whole.
    pub pointer: String,
    /// Short and stable (`unknown_action`).
    pub code: String,
    /// One line for people; never the value of a secret.
    pub message: String,
}

/// A draft that is no plan: everything that is wrong with it, at once.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
    /// The question to policy and its answer, when it came to that.
    pub decided: Option<Box<(policy::Input, policy::Decision)>>,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<_> = self
            .problems
            .iter()
            .map(|p| format!("{}: {} ({})", p.pointer, p.message, p.code))
            .collect();
        write!(f, "the draft is refused: {}", lines.join("; "))
    }
}

impl std::error::Error for Rejected {}

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        self.0.push(Problem {
            pointer: pointer.into(),
            code: code.to_owned(),
            message: message.into(),
        });
    }

    /// Nothing, or the rejection.
    pub(super) fn none(self) -> Result<(), Rejected> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Rejected {
            problems: self.0,
            decided: None,
        })
    }
}
