//! What was checked, and how it went.

use serde::Serialize;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Short, stable name.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was found, in one line.
    pub detail: String,
}

/// All checks of one bundle, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One each; a check that needs another's result is missing when that failed.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether there are checks and all hold.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }

    /// The check of this name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Notes a result; hands a success's value on, so that later checks can use it.
    pub(super) fn note<T>(&mut self, name: &'static str, result: Result<(T, String), String>) -> Option<T> {
        let (passed, value, detail) = match result {
            Ok((value, detail)) => (true, Some(value), detail),
            Err(detail) => (false, None, detail),
        };
        self.checks.push(Check { name, passed, detail });
        value
    }
}
