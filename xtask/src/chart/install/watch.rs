//! In which order objects came to be: a watch a kind, and the API server's one counter of changes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Deserializer, Value};

use crate::chart::cluster::OnCluster;
use crate::chart::helm::text;

/// Watches that run.
pub struct Watches {
    running: Vec<(Child, PathBuf)>,
}

/// `Kind/name` → every state of it that was seen: the change's number, the object.
pub type Seen = BTreeMap<String, Vec<(u64, Value)>>;

impl Watches {
    /// Begins to watch kinds in a namespace; they are being watched when this returns.
    pub fn start(on: &OnCluster<'_>, namespace: &str, kinds: &[&str]) -> Result<Self> {
        let mut watches = Self { running: Vec::new() };
        for kind in kinds {
            let file = on.folder.join(format!("watch-{namespace}-{kind}.json"));
            let arguments = [
                "get",
                kind,
                "--namespace",
                namespace,
                "--watch",
                "--output-watch-events",
                "--output=json",
            ];
            let mut command = on.kubectl_command(&arguments)?;
            let child = command
                .stdout(File::create(&file)?)
                .spawn()
                .context("kubectl get --watch")?;
            watches.running.push((child, file));
        }
        // Each answers first with what is there: something that is known to be there is waited for.
        let mark = format!("watch-mark-{}", kinds.len());
        for kind in kinds {
            watches.mark(on, namespace, kind, &mark)?;
        }
        Ok(watches)
    }

    /// Ends the watches.
    pub fn stop(mut self) -> Result<Seen> {
        let mut seen = Seen::new();
        for (child, file) in &mut self.running {
            child.kill()?;
            child.wait()?;
            for event in events(&fs::read_to_string(&*file)?) {
                let object = &event["object"];
                let version = text(object, "metadata/resourceVersion")
                    .parse()
                    .context("resourceVersion")?;
                let name = format!("{}/{}", text(object, "kind"), text(object, "metadata/name"));
                seen.entry(name).or_default().push((version, event));
            }
        }
        for states in seen.values_mut() {
            states.sort_by_key(|(version, _)| *version);
        }
        self.running.clear();
        Ok(seen)
    }

    /// Makes a small object of the kind and waits until the watch tells of it.
    fn mark(&self, on: &OnCluster<'_>, namespace: &str, kind: &str, name: &str) -> Result<()> {
        let manifest = match kind {
            "serviceaccounts" => format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: {namespace}}}}}"
            ),
            "secrets" => format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}}}}}"
            ),
            "networkpolicies" => format!(
                "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{podSelector: {{}}}}}}"
            ),
            "jobs" => return self.mark_job(on, namespace, name),
            "deployments" => format!(
                "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{replicas: 0, \
                 selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}}}}}"
            ),
            other => bail!("nothing marks a watch of {other}"),
        };
        on.apply(&format!("{name}.yaml"), &manifest)?;
        self.told(kind, name)?;
        on.kubectl(&["delete", kind, name, "--namespace", namespace])
            .map(drop)
    }

    fn mark_job(&self, on: &OnCluster<'_>, namespace: &str, name: &str) -> Result<()> {
        let manifest = format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{suspend: true, \
             template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}}}"
        );
        on.apply(&format!("{name}.yaml"), &manifest)?;
        self.told("jobs", name)?;
        on.kubectl(&["delete", "jobs", name, "--namespace", namespace])
            .map(drop)
    }

    fn told(&self, kind: &str, name: &str) -> Result<()> {
        let file = self.running.iter().map(|(_, file)| file).find(|file| {
            file.file_stem()
                .is_some_and(|stem| stem.to_string_lossy().ends_with(&format!("-{kind}")))
        });
        let file = file.with_context(|| format!("{kind} are not watched"))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !fs::read_to_string(file)?.contains(name) {
            if Instant::now() > deadline {
                bail!("the watch of {kind} tells nothing");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (child, _) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The events of a watch; the last may be cut off.
fn events(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter::<Value>()
        .map_while(Result::ok)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_follow_each_other_and_half_a_one_is_none() {
        assert_eq!(events("{\"a\":1}\n{\n \"a\": 2}\n{\"a\"").len(), 2);
    }
}
