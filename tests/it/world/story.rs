//! The story's repository: real git, a good commit, a bad commit on top.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

const MANIFEST: &str = "deploy/checkout.yaml";
/// How long ago the bad commit was deployed.
pub(crate) const BROKEN_FOR: Duration = Duration::from_secs(11 * 60);

/// A bare repository with branch `main`.
pub(crate) struct Story {
    bare: PathBuf,
    pub(crate) bad_commit: String,
}

impl Story {
    /// Writes it below `dir`.
    pub(crate) fn tell(dir: &Path) -> Self {
        let work = dir.join("work");
        std::fs::create_dir_all(work.join("deploy")).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch", "main"]);
        let hours = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
        for (message, pool, at) in [
            ("Deploy checkout", "20", hours(48)),
            ("Tune the pool", "0", SystemTime::now() - BROKEN_FOR),
        ] {
            std::fs::write(work.join(MANIFEST), manifest(pool)).unwrap();
            git(&work, &["add", "--all"]);
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let date = format!("{at} +0000");
            git_at(
                &work,
                &["commit", "--quiet", "--date", &date, "--message", message],
                Some(&date),
            );
        }
        let bad_commit = git(&work, &["rev-parse", "HEAD"]).trim().to_owned();
        git(dir, &["clone", "--quiet", "--bare", "work", "shop.git"]);
        let bare = dir.join("shop.git");
        Self { bare, bad_commit }
    }

    /// The same mistake once more, as a new commit on top.
    pub(crate) fn break_again(&mut self, dir: &Path) {
        let work = dir.join("work");
        let bare = self.bare.display().to_string();
        git(&work, &["pull", "--quiet", "--ff-only", &bare, "main"]);
        std::fs::write(work.join(MANIFEST), manifest("0")).unwrap();
        git(
            &work,
            &["commit", "--quiet", "--all", "--message", "Tune the pool again"],
        );
        git(&work, &["push", "--quiet", &bare, "HEAD:main"]);
        self.bad_commit = git(&work, &["rev-parse", "HEAD"]).trim().to_owned();
    }

    /// Folder of the bare repository.
    pub(crate) fn path(&self) -> &Path {
        &self.bare
    }

    /// Commits on top of the bad one.
    pub(crate) fn added(&self) -> usize {
        let range = format!("{}..main", self.bad_commit);
        let count = git(&self.bare, &["rev-list", "--count", &range]);
        count.trim().parse().unwrap()
    }

    /// Commits that carry the mark of this execution and direction.
    pub(crate) fn marked(&self, execution: &str, direction: &str) -> usize {
        let all = git(&self.bare, &["log", "--format=%B%x00", "main"]);
        all.split('\0')
            .filter(|message| {
                let has = |line: &str| message.lines().any(|found| found.starts_with(line));
                has(&format!("Carapulse-Execution: {execution}"))
                    && has(&format!("Carapulse-Attempt: 0/{direction}"))
            })
            .count()
    }

    /// Whether the deployed manifest is the good one.
    pub(crate) fn works(&self) -> bool {
        git(&self.bare, &["show", &format!("main:{MANIFEST}")]).contains("value: \"20\"")
    }
}

fn manifest(pool: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: checkout\n  namespace: shop\nspec:\n  replicas: 3\n  \
         selector:\n    matchLabels: {{app: checkout}}\n  template:\n    metadata:\n      labels: {{app: checkout}}\n    spec:\n      \
         containers:\n        - name: checkout\n          image: registry.example/checkout:1\n          env:\n            \
         - name: DB_POOL_SIZE\n              value: \"{pool}\"\n"
    )
}

fn git(dir: &Path, args: &[&str]) -> String {
    git_at(dir, args, None)
}

fn git_at(dir: &Path, args: &[&str], date: Option<&str>) -> String {
    let output = Command::new("git")
        .envs(date.map(|date| ("GIT_COMMITTER_DATE", date)))
        .current_dir(dir)
        .args(["-c", "safe.directory=*", "-c", "commit.gpgsign=false"])
        .args(["-c", "user.name=Story", "-c", "user.email=story@example.com"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
