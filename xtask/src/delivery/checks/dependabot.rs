//! `.github/dependabot.yml`.

use anyhow::{Result, bail};
use serde_json::Value;

/// Each of these is looked after, weekly or more often.
pub fn looks_after(value: &Value, ecosystems: &[&str]) -> Result<()> {
    for ecosystem in ecosystems {
        let mut updates = value["updates"].as_array().into_iter().flatten();
        let Some(update) = updates.find(|update| update["package-ecosystem"] == **ecosystem) else {
            bail!("dependabot does not look after {ecosystem}");
        };
        let interval = update
            .pointer("/schedule/interval")
            .and_then(Value::as_str)
            .unwrap_or("never");
        if !["daily", "weekly"].contains(&interval) {
            bail!("dependabot looks after {ecosystem} {interval}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ecosystem_that_is_forgotten_or_rarely_seen_is_found() {
        let value = json!({ "updates": [
            { "package-ecosystem": "cargo", "schedule": { "interval": "weekly" } },
            { "package-ecosystem": "docker", "schedule": { "interval": "monthly" } },
        ] });
        assert!(looks_after(&value, &["cargo"]).is_ok());
        assert!(looks_after(&value, &["docker"]).is_err());
        assert!(looks_after(&value, &["github-actions"]).is_err());
    }
}
