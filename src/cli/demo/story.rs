//! The demo's GitOps repository: real git, a history of some days, and a last commit that broke the checkout service.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Duration, Utc};

/// File that describes the service, from the root of the repository.
pub(super) const MANIFEST: &str = "deploy/checkout.yaml";
/// Branch that is deployed.
pub(super) const BRANCH: &str = "main";

/// The repository of the story.
#[derive(Debug, Clone)]
pub(super) struct Story {
    bare: PathBuf,
    /// Object id of the commit that broke the service.
    pub(super) bad_commit: String,
    /// When the alert began to fire.
    pub(super) alert_at: DateTime<Utc>,
}

struct Chapter<'a> {
    author: &'a str,
    message: &'a str,
    at: DateTime<Utc>,
    files: Vec<(&'a str, String)>,
}

/// Writes the repository's history below `dir`, with the breaking commit some minutes before `now`.
pub(super) fn tell(dir: &Path, now: DateTime<Utc>) -> anyhow::Result<Story> {
    let (work, bare) = (dir.join("gitops-work"), dir.join("gitops.git"));
    std::fs::create_dir_all(&work)?;
    git(&work, &["init", "--quiet", "--initial-branch", BRANCH])?;
    for chapter in history(now) {
        commit(&work, &chapter)?;
    }
    let bad_commit = git(&work, &["rev-parse", "HEAD"])?.trim().to_owned();
    git(dir, &["clone", "--quiet", "--bare", "gitops-work", "gitops.git"])?;
    std::fs::remove_dir_all(&work)?;
    Ok(Story {
        bare,
        bad_commit,
        alert_at: now - Duration::minutes(9),
    })
}

impl Story {
    /// Folder of the bare repository.
    pub(super) fn path(&self) -> &Path {
        &self.bare
    }

    /// Commits of the deployed branch, newest first, with the manifest as it was at each.
    pub(super) fn revisions(&self) -> anyhow::Result<Vec<Revision>> {
        let log = git(
            &self.bare,
            &["log", "--first-parent", "--format=%H %ct %s", BRANCH],
        )?;
        log.lines().map(|line| self.revision(line)).collect()
    }

    fn revision(&self, line: &str) -> anyhow::Result<Revision> {
        let mut parts = line.splitn(3, ' ');
        let (commit, time, subject) = (parts.next(), parts.next(), parts.next());
        let commit = commit.context("git log printed an empty line")?.to_owned();
        let seconds = time.context("git log printed no time")?.parse()?;
        let at = DateTime::from_timestamp(seconds, 0).context("git log printed an odd time")?;
        let manifest = git(&self.bare, &["show", &format!("{commit}:{MANIFEST}")])?;
        Ok(Revision {
            commit,
            at,
            subject: subject.unwrap_or_default().to_owned(),
            manifest,
        })
    }
}

/// One commit of the deployed branch.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    /// Object id.
    pub(super) commit: String,
    /// When it was committed.
    pub(super) at: DateTime<Utc>,
    /// First line of its message.
    pub(super) subject: String,
    /// The service's manifest at this commit.
    pub(super) manifest: String,
}

impl Revision {
    /// Whether the service works as described: it needs at least one connection to its database.
    pub(super) fn works(&self) -> bool {
        !self.manifest.contains("value: \"0\"")
    }
}

fn history(now: DateTime<Utc>) -> Vec<Chapter<'static>> {
    let readme = |text: &str| {
        (
            "README.md",
            format!("# GitOps repository of the shop\n\n{text}\n"),
        )
    };
    vec![
        Chapter {
            author: "Linh Tran",
            message: "Deploy checkout 2.3.1",
            at: now - Duration::days(6),
            files: vec![
                readme("What stands here is deployed."),
                (MANIFEST, manifest("2.3.1", "20")),
            ],
        },
        Chapter {
            author: "Mara Okafor",
            message: "Deploy checkout 2.4.0",
            at: now - Duration::days(2),
            files: vec![(MANIFEST, manifest("2.4.0", "20"))],
        },
        Chapter {
            author: "Linh Tran",
            message: "Say who is on call",
            at: now - Duration::hours(5),
            files: vec![readme(
                "What stands here is deployed. On call: the payments team.",
            )],
        },
        Chapter {
            author: "Jo Silva",
            message: "Tune checkout's database pool",
            at: now - Duration::minutes(11),
            files: vec![(MANIFEST, manifest("2.4.0", "0"))],
        },
    ]
}

fn manifest(version: &str, pool_size: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
  namespace: shop
  labels: {{app: checkout}}
spec:
  replicas: 3
  selector:
    matchLabels: {{app: checkout}}
  template:
    metadata:
      labels: {{app: checkout}}
    spec:
      containers:
        - name: checkout
          image: registry.example/shop/checkout:{version}
          env:
            - name: DB_POOL_SIZE
              value: \"{pool_size}\"
"
    )
}

fn commit(work: &Path, chapter: &Chapter<'_>) -> anyhow::Result<()> {
    for (path, text) in &chapter.files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().context("every file lies in the repository")?)?;
        std::fs::write(path, text)?;
    }
    git(work, &["add", "--all"])?;
    let date = chapter.at.to_rfc3339();
    let email = format!("{}@shop.example", chapter.author.to_lowercase().replace(' ', "."));
    let mut command = base(work);
    command.args(["commit", "--quiet", "--message", chapter.message]);
    command
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_DATE", &date);
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), chapter.author)
            .env(format!("GIT_{role}_EMAIL"), &email);
    }
    run(command).map(drop)
}

fn git(dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = base(dir);
    command.args(args);
    run(command)
}

/// The machine's own git configuration must not change the story.
fn base(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.args(["-c", "safe.directory=*", "-c", "commit.gpgsign=false"]);
    command
}

fn run(mut command: Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .context("cannot run git: install it with the system's package manager")?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_of_the_story_breaks_the_service_and_nothing_before_it_does() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let story = tell(dir.path(), now).expect("git works");
        let revisions = story.revisions().expect("git works");
        assert_eq!(revisions.len(), 4);
        assert_eq!(revisions[0].commit, story.bad_commit);
        assert_eq!(
            revisions.iter().map(Revision::works).collect::<Vec<_>>(),
            [false, true, true, true]
        );
        assert!(
            revisions[0].at < story.alert_at,
            "{} {}",
            revisions[0].at,
            revisions[0].subject
        );
    }
}
