//! One workflow file, and what can be asserted of it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::repository::{Repository, at, entries};

const FOLDER: &str = ".github/workflows";

pub struct Workflow {
    name: String,
    value: Value,
}

impl Workflow {
    pub fn read(repository: &Repository, name: &str) -> Result<Self> {
        let value = repository.yaml(&format!("{FOLDER}/{name}.yml"))?;
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }

    #[cfg(test)]
    fn parse(text: &str) -> Self {
        Self {
            name: "test".to_owned(),
            value: serde_saphyr::from_str(text).expect("YAML"),
        }
    }

    pub fn at(&self, pointer: &str) -> Result<&Value> {
        at(&self.value, pointer).with_context(|| format!("{}.yml", self.name))
    }

    /// An error unless the value at the pointer is this.
    pub fn is(&self, pointer: &str, wanted: &Value) -> Result<()> {
        let found = self.at(pointer)?;
        if found != wanted {
            bail!("{}.yml: `{pointer}` is {found}, expected {wanted}", self.name);
        }
        Ok(())
    }

    pub fn jobs(&self) -> Result<Vec<(&str, &Value)>> {
        entries(&self.value, "/jobs")
    }

    /// Reads nothing but the sources unless a job says otherwise.
    pub fn permissions_are_minimal(&self) -> Result<()> {
        self.is("/permissions", &serde_json::json!({ "contents": "read" }))
    }

    /// The jobs that may write something, and what, are exactly these.
    pub fn writes_only(&self, allowed: &[(&str, &[&str])]) -> Result<()> {
        for (job, value) in self.jobs()? {
            let Some(permissions) = value["permissions"].as_object() else {
                continue;
            };
            let allowed = allowed
                .iter()
                .find(|(name, _)| *name == job)
                .map_or(&[][..], |(_, scopes)| scopes);
            let writes: BTreeSet<&str> = permissions
                .iter()
                .filter(|(_, level)| *level == "write")
                .map(|(scope, _)| scope.as_str())
                .collect();
            let expected: BTreeSet<&str> = allowed.iter().copied().collect();
            if writes != expected {
                bail!(
                    "{}.yml: job `{job}` may write {writes:?}, expected {expected:?}",
                    self.name
                );
            }
        }
        Ok(())
    }

    /// Every job ends by itself, and no checkout leaves the token behind.
    pub fn jobs_are_bounded(&self) -> Result<()> {
        for (job, value) in self.jobs()? {
            if value.get("uses").is_none() && value.get("timeout-minutes").is_none() {
                bail!("{}.yml: job `{job}` has no timeout", self.name);
            }
            for step in steps(value) {
                let checkout = step["uses"]
                    .as_str()
                    .is_some_and(|uses| uses.starts_with("actions/checkout@"));
                if checkout && step.pointer("/with/persist-credentials") != Some(&Value::Bool(false)) {
                    bail!("{}.yml: job `{job}` leaves its token in the checkout", self.name);
                }
            }
        }
        Ok(())
    }

    /// An error unless some step of the job runs a line that holds the text.
    pub fn runs(&self, job: &str, wanted: &str) -> Result<()> {
        let value = self.at(&format!("/jobs/{job}"))?;
        if !steps(value).any(|step| step["run"].as_str().is_some_and(|run| run.contains(wanted))) {
            bail!("{}.yml: no step of job `{job}` runs `{wanted}`", self.name);
        }
        Ok(())
    }

    /// The step of a job that uses this action; its inputs are under `/with`.
    pub fn step(&self, job: &str, action: &str) -> Result<&Value> {
        let value = self.at(&format!("/jobs/{job}"))?;
        let prefix = format!("{action}@");
        let mut found = steps(value).filter(|step| {
            step["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with(&prefix))
        });
        found
            .next()
            .with_context(|| format!("{}.yml: no step of job `{job}` uses {action}", self.name))
    }

    /// The job waits for every other job but those.
    pub fn waits_for_all_but(&self, job: &str, but: &[&str]) -> Result<()> {
        let needs = self.at(&format!("/jobs/{job}/needs"))?;
        let needs: BTreeSet<&str> = needs
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (other, _) in self.jobs()? {
            if other != job && !but.contains(&other) && !needs.contains(other) {
                bail!("{}.yml: job `{job}` does not wait for `{other}`", self.name);
            }
        }
        Ok(())
    }
}

/// An error unless the step's input is this.
pub fn input(step: &Value, name: &str, wanted: &Value) -> Result<()> {
    let found = &step["with"][name];
    if found != wanted {
        bail!(
            "`{}`: input {name} is {found}, expected {wanted}",
            step["uses"].as_str().unwrap_or("a step")
        );
    }
    Ok(())
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "
on: push
permissions: { contents: read }
jobs:
  a:
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@x
        with: { persist-credentials: false }
      - run: cargo xtask tidy
  b:
    needs: [a]
    timeout-minutes: 5
    permissions: { contents: read, packages: write }
    steps: [{ uses: 'scan/it@x', with: { exit-code: '1' } }]
";

    fn changed(from: &str, to: &str) -> Workflow {
        assert!(TEXT.contains(from), "{from}");
        Workflow::parse(&TEXT.replace(from, to))
    }

    #[test]
    fn permissions_that_grew_are_found() {
        let good = Workflow::parse(TEXT);
        assert!(good.permissions_are_minimal().is_ok());
        assert!(
            changed("{ contents: read }\njobs", "write-all\njobs")
                .permissions_are_minimal()
                .is_err()
        );
        assert!(good.writes_only(&[("b", &["packages"])]).is_ok());
        assert!(good.writes_only(&[]).is_err());
        assert!(good.writes_only(&[("b", &["packages", "id-token"])]).is_err());
    }

    #[test]
    fn a_job_without_a_timeout_and_a_kept_token_are_found() {
        assert!(Workflow::parse(TEXT).jobs_are_bounded().is_ok());
        assert!(
            changed("    timeout-minutes: 5\n    permissions", "    permissions")
                .jobs_are_bounded()
                .is_err()
        );
        assert!(
            changed("credentials: false", "credentials: true")
                .jobs_are_bounded()
                .is_err()
        );
    }

    #[test]
    fn a_command_that_is_gone_and_a_job_that_does_not_wait_are_found() {
        let good = Workflow::parse(TEXT);
        assert!(good.runs("a", "cargo xtask tidy").is_ok());
        assert!(good.runs("a", "cargo xtask test").is_err());
        assert!(good.waits_for_all_but("b", &[]).is_ok());
        assert!(
            changed("needs: [a]", "needs: []")
                .waits_for_all_but("b", &[])
                .is_err()
        );
    }

    #[test]
    fn an_input_that_changed_is_found() {
        let good = Workflow::parse(TEXT);
        let step = good.step("b", "scan/it").expect("there");
        assert!(input(step, "exit-code", &json!("1")).is_ok());
        assert!(input(step, "exit-code", &json!("0")).is_err());
        assert!(good.step("a", "scan/it").is_err());
        assert!(good.is("/on", &json!("push")).is_ok() && good.is("/on", &json!("pull_request")).is_err());
    }
}
