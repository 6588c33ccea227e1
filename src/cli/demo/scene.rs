//! Where the incident happens: in the demo's own GitOps repository, or on a cluster.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Demo,
    kube::Cluster,
    screen::Screen,
    server::World,
    story::{self, Story},
};
use crate::domain::{Clock as _, SystemClock};

/// The place, its trouble, and how one sees that it is over.
#[derive(Debug)]
pub(super) enum Scene {
    /// Real git, simulated metrics.
    GitOps {
        /// Answers PromQL.
        world: World,
        /// The repository.
        story: Story,
    },
    /// A cluster somebody has.
    Kube(Cluster),
}

/// What the alert says.
#[derive(Debug)]
pub(super) struct Alert<'a> {
    pub(super) name: &'static str,
    pub(super) namespace: &'a str,
    pub(super) summary: &'static str,
    pub(super) at: DateTime<Utc>,
}

impl Scene {
    /// Builds it below `dir`.
    pub(super) async fn set(demo: &Demo, dir: &Path, screen: &mut Screen) -> anyhow::Result<Self> {
        if let Some(kubeconfig) = &demo.kubeconfig {
            let cluster = Cluster::set(kubeconfig, demo.context.as_deref(), demo.keep, dir, screen).await?;
            return Ok(Self::Kube(cluster));
        }
        let story = story::tell(dir, SystemClock.now())?;
        screen.event(format!(
            "git: a repository whose last commit, {}, broke checkout",
            &story.bad_commit[..10]
        ));
        let world = World::start(story.clone(), demo.fail_verify).await?;
        screen.say(format!(
            "metrics at {} (SIMULATED from the repository's state)",
            world.url
        ));
        Ok(Self::GitOps { world, story })
    }

    /// The trouble begins, if it has not begun long ago.
    pub(super) async fn break_it(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        match self {
            Self::GitOps { .. } => Ok(()),
            Self::Kube(cluster) => cluster.break_it(screen).await,
        }
    }

    /// What Alertmanager would send.
    pub(super) fn alert(&self) -> Alert<'_> {
        match self {
            Self::GitOps { story, .. } => Alert {
                name: "CheckoutHighErrorRate",
                namespace: "shop",
                summary: "More than 5 % of checkout's requests fail",
                at: story.alert_at,
            },
            Self::Kube(cluster) => Alert {
                name: "CheckoutRollOutStuck",
                namespace: cluster.namespace(),
                summary: "checkout's roll-out does not come to an end",
                at: SystemClock.now(),
            },
        }
    }

    /// How the service is now, in a sentence.
    pub(super) fn state(&self) -> anyhow::Result<String> {
        match self {
            Self::GitOps { world, .. } => {
                Ok(format!("checkout fails {} of its requests", world.error_ratio()?))
            }
            Self::Kube(cluster) => cluster.state(),
        }
    }

    /// What was deployed, a line each, oldest first.
    pub(super) fn history(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::GitOps { story, .. } => {
                let revisions = story.revisions()?;
                let line = |r: &story::Revision| format!("main: {} {}", &r.commit[..10], r.subject);
                Ok(revisions.iter().take(2).rev().map(line).collect())
            }
            Self::Kube(cluster) => cluster.history(),
        }
    }

    /// Name of the registered target.
    pub(super) fn target_name(&self) -> &str {
        match self {
            Self::GitOps { .. } => "shop-prod",
            Self::Kube(cluster) => cluster.namespace(),
        }
    }

    /// The target as an admin proposes it.
    pub(super) fn target(&self, mode: &str) -> Value {
        match self {
            Self::GitOps { world, story } => json!({
                "name": self.target_name(),
                "mode": mode,
                "context": { "environment": "prod", "cluster_id": "demo", "namespace": "shop" },
                "git": { "url": story.path(), "branch": story::BRANCH, "path": "deploy" },
                "prometheus_url": world.url,
                "services": { "checkout": "deployment/checkout" },
            }),
            Self::Kube(cluster) => cluster.target(mode),
        }
    }

    /// Folders with the programs that the sandbox needs beside the system's.
    pub(super) fn tool_dirs(&self) -> &[PathBuf] {
        match self {
            Self::GitOps { .. } => &[],
            Self::Kube(cluster) => cluster.tool_dirs(),
        }
    }

    /// Where to look when everything is kept running.
    pub(super) fn address(&self) -> String {
        match self {
            Self::GitOps { world, .. } => format!("metrics {}", world.url),
            Self::Kube(cluster) => cluster.address(),
        }
    }
}
