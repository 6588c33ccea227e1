//! `[policy]`

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;
use crate::shadow::Opa;

/// Decisions are made in the process itself, always. Here is what watches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// An OPA server that is asked every decision, too, after it was made: `http://opa:8181`. Differences are counted,
    /// logged, audited and paged; no decision waits for it or depends on it. Not set: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_url: Option<url::Url>,
    /// How long it may take for one answer, in seconds.
    pub shadow_timeout_secs: u64,
    /// Decisions that may wait to be asked; those beyond are counted and let go.
    pub shadow_queue_length: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            shadow_url: None,
            shadow_timeout_secs: 2,
            shadow_queue_length: 256,
        }
    }
}

impl Policy {
    /// The client of the configured server; none when none is configured.
    ///
    /// # Errors
    /// When the address may not be called.
    pub fn shadow(&self) -> Result<Option<Opa>, String> {
        let Some(url) = &self.shadow_url else {
            return Ok(None);
        };
        let opa = Opa::new(url.as_str(), Duration::from_secs(self.shadow_timeout_secs));
        opa.map(Some).map_err(|error| error.to_string())
    }
}

impl Section for Policy {
    const NAME: &'static str = "policy";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=60).contains(&self.shadow_timeout_secs) {
            let problem = format!("{}: expected 1 to 60", self.shadow_timeout_secs);
            return Err(("shadow_timeout_secs", problem));
        }
        if !(1..=65_536).contains(&self.shadow_queue_length) {
            let problem = format!("{}: expected 1 to 65536", self.shadow_queue_length);
            return Err(("shadow_queue_length", problem));
        }
        self.shadow().map(drop).map_err(|problem| ("shadow_url", problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(url: &str) -> Policy {
        Policy {
            shadow_url: Some(url.parse().unwrap()),
            ..Policy::default()
        }
    }

    #[test]
    fn nobody_is_asked_unless_an_address_is_given_that_may_be_called() {
        assert!(Policy::default().check().is_ok());
        assert!(Policy::default().shadow().unwrap().is_none());
        assert!(policy("http://opa:8181").check().is_ok());
        assert!(policy("http://opa:8181").shadow().unwrap().is_some());
        for wrong in [
            "ftp://opa",
            "http://user:pw@opa:8181",
            "http://169.254.169.254",
            "http://opa:8181?x=1",
        ] {
            let (key, problem) = policy(wrong).check().unwrap_err();
            assert_eq!(key, "shadow_url", "{problem}");
        }
    }

    #[test]
    fn limits_are_limits() {
        for (timeout, length, key) in [
            (0, 1, "shadow_timeout_secs"),
            (61, 1, "shadow_timeout_secs"),
            (1, 0, "shadow_queue_length"),
            (1, 70_000, "shadow_queue_length"),
        ] {
            let policy = Policy {
                shadow_url: None,
                shadow_timeout_secs: timeout,
                shadow_queue_length: length,
            };
            assert_eq!(policy.check().unwrap_err().0, key);
        }
    }
}
