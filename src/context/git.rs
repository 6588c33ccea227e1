//! The GitOps repository of a target: what is at head, and what its last commits changed, field by field.
//!
//! Text comes through a [`GitReader`]; processes are the sandbox's business.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{
    git_text::{LoggedCommit, is_object_id, parse_list, parse_log, parse_show},
    manifest::{self, FieldChange, MAX_CHANGES, Manifest, Object, is_manifest_path, looks_secret},
    source::SourceStatus,
};
use crate::domain::GitPlace;

/// Commits read from the log.
pub const MAX_COMMITS: u32 = 30;
/// Commits whose changes are read field by field.
const MAX_EXAMINED: usize = 10;
/// Commits older than this before the trouble are listed, but not read: nobody blames them.
const EXAMINED_AGE: Duration = Duration::hours(24);
/// Manifest files of one commit that are read.
const MAX_FILES: usize = 20;
/// Paths listed of one commit.
const MAX_PATHS: usize = 100;
/// Manifest files read at head.
const MAX_MANIFESTS: usize = 200;
/// Characters of one file's patch.
const MAX_DIFF_CHARS: usize = 3_000;

/// Reads a repository. Each call is one read action of the tool `git`; the answer is its standard output.
#[async_trait]
pub trait GitReader: Send + Sync + Debug {
    /// The last `max` commits of the place's branch, as [`LOG_ARGV`](super::git_text::LOG_ARGV) prints them.
    async fn log(&self, place: &GitPlace, max: u32) -> Result<String, GitReadError>;
    /// The patch of `commit` within the place's folder, as [`SHOW_ARGV`](super::git_text::SHOW_ARGV) prints it.
    async fn show(&self, place: &GitPlace, commit: &str) -> Result<String, GitReadError>;
    /// The files of the place's folder at `rev`, as [`LIST_ARGV`](super::git_text::LIST_ARGV) prints them.
    async fn list(&self, place: &GitPlace, rev: &str) -> Result<String, GitReadError>;
    /// One file at `rev`, as [`FILE_ARGV`](super::git_text::FILE_ARGV) prints it; `path` is from the repository's root.
    async fn file(&self, place: &GitPlace, rev: &str, path: &str) -> Result<String, GitReadError>;
}

/// A read that failed, in the words of whoever failed it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct GitReadError(pub String);

/// What a repository says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitFacts {
    /// The target's repository.
    pub repo: String,
    /// The target's branch.
    pub branch: String,
    /// Newest commit.
    pub head: String,
    /// Newest first.
    pub commits: Vec<Commit>,
    /// Objects at head, in the target's folder.
    pub manifests: Vec<Manifest>,
    /// Files at head that are no YAML, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unparsed: BTreeMap<String, String>,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Object id.
    pub id: String,
    /// First parent first; empty for a root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// As the author called herself.
    pub author: String,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// First line of the message.
    pub subject: String,
    /// Paths that it changed, inside and outside the target's folder.
    pub paths: Vec<String>,
    /// Whether its manifests were read; a commit that was not examined is blamed for nothing and cleared of nothing.
    pub examined: bool,
    /// Fields that it changed, in the target's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// Patches of manifests by path; files that hold secrets are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub diffs: BTreeMap<String, String>,
}

/// Names of the sources that this collector reports.
pub const SOURCES: [&str; 2] = ["git.log", "git.manifests"];

/// Reads the repository at `place`; `now` stamps what was read. Objects that name another namespace than `namespace` are
/// not of this target and passed over (a blank `namespace` takes all). What commits changed is read for those of the day
/// before `since`, when the trouble began.
pub async fn collect(
    reader: &dyn GitReader,
    place: &GitPlace,
    namespace: &str,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> (Option<GitFacts>, Vec<SourceStatus>) {
    let [log_name, manifests_name] = SOURCES;
    let log = match read_log(reader, place).await {
        Ok(log) => log,
        Err(reason) => {
            let not_read = SourceStatus::unavailable(manifests_name, "the log could not be read");
            return (None, vec![SourceStatus::unavailable(log_name, &reason), not_read]);
        }
    };
    let mut files = Files::new(reader, place, namespace, &log);
    let head = match read_head(&mut files).await {
        Ok(head) => head,
        Err(reason) => {
            let read = SourceStatus::available(log_name, now, false);
            return (
                None,
                vec![read, SourceStatus::unavailable(manifests_name, &reason)],
            );
        }
    };
    let (commits, failure) = read_commits(&mut files, since.unwrap_or(now) - EXAMINED_AGE).await;
    let log_status = match failure {
        Some(reason) => SourceStatus::unavailable(log_name, &reason),
        None => SourceStatus::available(log_name, now, log.len() >= MAX_COMMITS as usize),
    };
    let facts = GitFacts {
        repo: place.url.clone(),
        branch: place.branch.clone(),
        head: log[0].id.clone(),
        commits,
        manifests: head.manifests,
        unparsed: head.unparsed,
    };
    let manifests_status = SourceStatus::available(manifests_name, now, head.truncated);
    (Some(facts), vec![log_status, manifests_status])
}

async fn read_log(reader: &dyn GitReader, place: &GitPlace) -> Result<Vec<LoggedCommit>, String> {
    let text = reader.log(place, MAX_COMMITS).await.map_err(|e| e.to_string())?;
    let mut log = parse_log(&text).map_err(|e| e.to_string())?;
    log.truncate(MAX_COMMITS as usize);
    if log.is_empty() {
        return Err("the branch has no commits".into());
    }
    Ok(log)
}

struct Head {
    manifests: Vec<Manifest>,
    unparsed: BTreeMap<String, String>,
    truncated: bool,
}

async fn read_head(files: &mut Files<'_>) -> Result<Head, String> {
    let text = files.reader.list(files.place, &files.log[0].id).await;
    let listed = parse_list(&text.map_err(|e| e.to_string())?);
    let mut paths: Vec<_> = listed.into_iter().filter(|p| files.is_relevant(p)).collect();
    let truncated = paths.len() > MAX_MANIFESTS;
    paths.truncate(MAX_MANIFESTS);
    let mut head = Head {
        manifests: Vec::new(),
        unparsed: BTreeMap::new(),
        truncated,
    };
    for path in paths {
        match files.at(&path, 0).await? {
            Ok(objects) => head.manifests.extend(objects.iter().map(|o| o.reduce(&path))),
            Err(reason) => drop(head.unparsed.insert(path, reason)),
        }
    }
    Ok(head)
}

async fn read_commits(files: &mut Files<'_>, not_before: DateTime<Utc>) -> (Vec<Commit>, Option<String>) {
    let mut commits = Vec::new();
    let mut examined = 0;
    let mut failure = None;
    for (position, logged) in files.log.iter().enumerate() {
        let paths: Vec<&str> = logged.paths.iter().map(|(_, p)| p.as_str()).collect();
        let relevant: Vec<&str> = paths.iter().copied().filter(|p| files.is_relevant(p)).collect();
        let mut commit = Commit {
            id: logged.id.clone(),
            parents: logged.parents.clone(),
            author: logged.author.clone(),
            committed_at: logged.committed_at,
            subject: logged.subject.clone(),
            paths: paths.iter().take(MAX_PATHS).map(|&p| p.to_owned()).collect(),
            examined: relevant.is_empty(),
            changes: Vec::new(),
            diffs: BTreeMap::new(),
        };
        let few = relevant.len() <= MAX_FILES && paths.len() <= MAX_PATHS;
        let young = logged.committed_at >= not_before;
        if !relevant.is_empty() && few && young && examined < MAX_EXAMINED && failure.is_none() {
            examined += 1;
            match examine(files, position, &relevant, &mut commit).await {
                Ok(complete) => commit.examined = complete,
                Err(reason) => failure = Some(reason),
            }
        }
        commits.push(commit);
    }
    (commits, failure)
}

/// Fills in what the commit at `position` changed; whether that is all of it.
async fn examine(
    files: &mut Files<'_>,
    position: usize,
    relevant: &[&str],
    commit: &mut Commit,
) -> Result<bool, String> {
    let mut secret_paths = Vec::new();
    for path in relevant {
        let after = files.at(path, position).await?;
        let before = files.at(path, position + 1).await?;
        if [&before, &after].iter().any(|v| holds_secret(v)) {
            secret_paths.push(*path);
        }
        commit.changes.extend(version_changes(path, &before, &after));
    }
    let complete = commit.changes.len() <= MAX_CHANGES;
    commit.changes.truncate(MAX_CHANGES);
    let patch = files
        .reader
        .show(files.place, &commit.id)
        .await
        .map_err(|e| e.to_string())?;
    for (path, hunks) in parse_show(&patch, &commit.id, MAX_DIFF_CHARS).map_err(|e| e.to_string())? {
        let clear = !secret_paths.contains(&path.as_str()) && !looks_secret(&hunks);
        if relevant.contains(&path.as_str()) && clear {
            commit.diffs.insert(path, hunks);
        }
    }
    Ok(complete)
}

/// The objects of a file at some revision, or why it is no YAML. No objects when the file is not there.
type Version = Result<Vec<Object>, String>;

/// A version that cannot be parsed may hold anything.
fn holds_secret(version: &Version) -> bool {
    version.as_ref().map_or(true, |objects| {
        objects.iter().any(|o| o.id.starts_with("secret/"))
    })
}

fn version_changes(path: &str, before: &Version, after: &Version) -> Vec<FieldChange> {
    match (before, after) {
        (Ok(before), Ok(after)) => manifest::changes(path, before, after),
        // The file stopped, or began, to make sense: everything in it is affected.
        (Ok(objects), Err(reason)) => affected(path, objects, "defined", &format!("no YAML: {reason}")),
        (Err(reason), Ok(objects)) => affected(path, objects, &format!("no YAML: {reason}"), "defined"),
        (Err(_), Err(_)) => Vec::new(),
    }
}

fn affected(path: &str, objects: &[Object], before: &str, after: &str) -> Vec<FieldChange> {
    let one = |object: &Object| FieldChange {
        path: path.to_owned(),
        object: object.id.clone(),
        field: String::new(),
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    };
    objects.iter().map(one).collect()
}

/// Versions of files, each read once.
struct Files<'a> {
    reader: &'a dyn GitReader,
    place: &'a GitPlace,
    namespace: &'a str,
    log: &'a [LoggedCommit],
    read: BTreeMap<(String, String), Version>,
}

impl<'a> Files<'a> {
    fn new(
        reader: &'a dyn GitReader,
        place: &'a GitPlace,
        namespace: &'a str,
        log: &'a [LoggedCommit],
    ) -> Self {
        Self {
            reader,
            place,
            namespace,
            log,
            read: BTreeMap::new(),
        }
    }

    /// Whether `path` is a manifest of this place.
    fn is_relevant(&self, path: &str) -> bool {
        let folder = self.place.path.trim_matches('/');
        let inside = folder.is_empty()
            || path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'));
        inside && is_manifest_path(path)
    }

    /// `path` as it was after the commit at `position` of the log. The error is a failed read.
    async fn at(&mut self, path: &str, position: usize) -> Result<Version, String> {
        let Some(rev) = self.rev_of(path, position) else {
            return Ok(Ok(Vec::new()));
        };
        let key = (rev, path.to_owned());
        if let Some(version) = self.read.get(&key) {
            return Ok(version.clone());
        }
        let text = self
            .reader
            .file(self.place, &key.0, path)
            .await
            .map_err(|e| e.to_string())?;
        let mut version = manifest::parse(&text);
        if let (Ok(objects), false) = (&mut version, self.namespace.is_empty()) {
            objects.retain(|o| o.namespace.as_deref().is_none_or(|n| n == self.namespace));
        }
        self.read.insert(key, version.clone());
        Ok(version)
    }

    /// A revision at which `path` looks as it did after `position`: the commit that last touched it. `None` when it was
    /// not there.
    fn rev_of(&self, path: &str, position: usize) -> Option<String> {
        let touched = |commit: &LoggedCommit| commit.paths.iter().find(|(_, p)| p == path).map(|(s, _)| *s);
        for commit in self.log.get(position..).unwrap_or_default() {
            match touched(commit) {
                Some('D') => return None,
                Some(_) => return Some(commit.id.clone()),
                None => {}
            }
        }
        // Untouched from here back to the end of the log: the oldest commit that is known has it, unless a later one
        // added it.
        let newer = self.log.get(..position.min(self.log.len())).unwrap_or_default();
        if newer.iter().rev().find_map(touched) == Some('A') {
            return None;
        }
        let oldest = self.log.last()?;
        let rev = if position < self.log.len() {
            Some(&oldest.id)
        } else {
            oldest.parents.first()
        };
        rev.filter(|rev| is_object_id(rev)).cloned()
    }
}
