//! The text that `git` prints, parsed. Pure; the argument vectors here print exactly what the parsers read.
//!
//! Paths come quoted by git when they hold odd bytes (`core.quotePath`); such paths are skipped and counted, because no
//! manifest needs them.

use chrono::{DateTime, Utc};

use super::text::{clean, clean_lines};

/// `git log` of a branch: append `--end-of-options BRANCH`, and `--max-count=N` before it.
pub const LOG_ARGV: &[&str] = &[
    "log",
    "--first-parent",
    "--no-color",
    "--no-renames",
    "--no-show-signature",
    "--diff-merges=first-parent",
    "--name-status",
    "--format=commit %H%nparents %P%nauthor %an%ntime %cI%nsubject %s",
];

/// `git show` of one commit's patch: append `--end-of-options COMMIT -- PATH` (PATH is `.` for the root).
pub const SHOW_ARGV: &[&str] = &[
    "show",
    "--no-color",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-show-signature",
    "--diff-merges=first-parent",
    "--unified=3",
    "--format=commit %H",
];

/// The files of a tree, one a line: append `--end-of-options REV -- PATH`.
pub const LIST_ARGV: &[&str] = &["ls-tree", "-r", "--name-only", "--full-tree"];

/// One file at one revision: append `--end-of-options REV:PATH`.
pub const FILE_ARGV: &[&str] = &["show", "--no-textconv"];

/// Text that is not what the argument vectors print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("git printed something unexpected at line {line}: {what}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// What was expected.
    pub what: &'static str,
}

/// One commit of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCommit {
    /// Object id: 40 or 64 hexadecimal digits.
    pub id: String,
    /// First parent first; empty for a root.
    pub parents: Vec<String>,
    /// As the author called herself.
    pub author: String,
    /// Committer time: when it entered the branch's history.
    pub committed_at: DateTime<Utc>,
    /// First line of the message.
    pub subject: String,
    /// Status letter (`A`, `M`, `D`, `T`) and path, as against the first parent.
    pub paths: Vec<(char, String)>,
}

/// Whether `text` is a full object id.
#[must_use]
pub fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Reads what [`LOG_ARGV`] prints, newest first.
///
/// Five header lines in a fixed order open each commit, so no subject, author or path can pose as another line.
pub fn parse_log(text: &str) -> Result<Vec<LoggedCommit>, TextError> {
    let mut commits = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let fail = |what| TextError {
            line: number + 1,
            what,
        };
        let id = line.strip_prefix("commit ").filter(|id| is_object_id(id));
        let id = id.ok_or(fail("`commit` and an object id"))?.to_owned();
        let mut header = |key: &'static str| {
            let (_, line) = lines.next().ok_or(fail("five header lines"))?;
            let rest = line.strip_prefix(key).ok_or(fail(key))?;
            Ok(rest.strip_prefix(' ').unwrap_or(rest))
        };
        let parents: Vec<String> = header("parents")?.split_whitespace().map(Into::into).collect();
        if !parents.iter().all(|p| is_object_id(p)) {
            return Err(fail("object ids of parents"));
        }
        let author = clean(header("author")?, 80);
        let time = DateTime::parse_from_rfc3339(header("time")?).map_err(|_| fail("an ISO 8601 time"))?;
        let subject = clean(header("subject")?, 200);
        let mut paths = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.starts_with("commit ")) {
            paths.extend(name_status(line));
        }
        commits.push(LoggedCommit {
            id,
            parents,
            author,
            committed_at: time.to_utc(),
            subject,
            paths,
        });
    }
    Ok(commits)
}

fn name_status(line: &str) -> Option<(char, String)> {
    let (status, path) = line.split_once('\t')?;
    let letter = status.chars().next().filter(char::is_ascii_uppercase)?;
    plain_path(path).map(|path| (letter, path))
}

/// Reads what [`LIST_ARGV`] prints.
#[must_use]
pub fn parse_list(text: &str) -> Vec<String> {
    text.lines().filter_map(plain_path).collect()
}

/// A relative path without quoting, control characters or parent steps.
fn plain_path(path: &str) -> Option<String> {
    let plain = !path.is_empty()
        && path.len() <= 300
        && !path.starts_with(['"', '/', '-', ':'])
        && path.split('/').all(|part| !part.is_empty() && part != "..")
        && path == clean(path, 300);
    plain.then(|| path.to_owned())
}

/// Cuts what [`SHOW_ARGV`] prints into files: path and hunks, at most `max_chars` each. Binary files have no hunks.
pub fn parse_show(text: &str, commit: &str, max_chars: usize) -> Result<Vec<(String, String)>, TextError> {
    if text.lines().next() != Some(&format!("commit {commit}")) {
        return Err(TextError {
            line: 1,
            what: "the commit that was asked for",
        });
    }
    let mut files: Vec<(String, String)> = Vec::new();
    let mut in_hunks = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("diff --git ") {
            // Inside hunks every line begins with ' ', '+', '-', '\' or '@', so this one opens a file.
            in_hunks = false;
            if let Some(path) = patch_path(rest) {
                files.push((path, String::new()));
            }
            continue;
        }
        in_hunks |= line.starts_with("@@ ");
        if let (true, Some((_, hunks))) = (in_hunks, files.last_mut())
            && hunks.len() <= max_chars * 4
        {
            hunks.push_str(line);
            hunks.push('\n');
        }
    }
    for (_, hunks) in &mut files {
        *hunks = clean_lines(hunks, max_chars);
    }
    Ok(files)
}

/// `a/PATH b/PATH` with both the same, as `--no-renames` makes it.
fn patch_path(rest: &str) -> Option<String> {
    let half = rest.len().checked_sub(1)? / 2;
    let (a, b) = (rest.get(..half)?, rest.get(half + 1..)?);
    let path = a.strip_prefix("a/")?;
    (b.strip_prefix("b/") == Some(path)).then(|| plain_path(path))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_log_is_read() {
        let text = format!(
            "commit {A}\nparents {B}\nauthor Dana\ntime 2026-03-02T11:58:00+01:00\nsubject checkout: commit {B}\n\n\
             M\tdeploy/checkout.yaml\nD\t\"deploy/\\303\\244.yaml\"\n\ncommit {B}\nparents \nauthor \ntime 2026-03-01T00:00:00Z\nsubject \n"
        );
        let log = parse_log(&text).expect("log");
        assert_eq!(log.len(), 2);
        assert_eq!(log[0].subject, format!("checkout: commit {B}"));
        assert_eq!(log[0].committed_at.to_rfc3339(), "2026-03-02T10:58:00+00:00");
        assert_eq!(log[0].paths, [('M', "deploy/checkout.yaml".to_owned())]);
        assert!(log[1].parents.is_empty());
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "fatal: not a git repository",
            "commit abc\n",
            &format!("commit {A}\nauthor x\n"),
            &format!("commit {A}\nparents --all\nauthor x\ntime y\nsubject z\n"),
        ] {
            assert!(parse_log(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_patch_is_cut_into_files() {
        let text = format!(
            "commit {A}\n\ndiff --git a/deploy/checkout.yaml b/deploy/checkout.yaml\nindex 1..2 100644\n\
             --- a/deploy/checkout.yaml\n+++ b/deploy/checkout.yaml\n@@ -1,2 +1,2 @@ env:\n-  value: \"20\"\n+  value: \"0\"\n\
             diff --git a/README.md b/README.md\n@@ -1 +1 @@\n-diff --git a/x b/x\n+b\n"
        );
        let files = parse_show(&text, A, 500).expect("patch");
        assert_eq!(files.len(), 2);
        assert_eq!(
            files[0].1,
            "@@ -1,2 +1,2 @@ env:\n-  value: \"20\"\n+  value: \"0\"\n"
        );
        assert!(files[1].1.contains("-diff --git a/x b/x"));
        assert!(parse_show(&text, B, 500).is_err());
    }

    #[test]
    fn odd_paths_are_skipped() {
        assert_eq!(
            parse_list("deploy/a.yaml\n../b\n/etc/passwd\n-x\n\"q\\n\"\na//b\n:(top)\n"),
            ["deploy/a.yaml"]
        );
    }

    proptest! {
        #[test]
        fn no_subject_or_author_makes_another_commit(subject in "[^\r\n]{0,40}", author in "[^\r\n]{0,20}") {
            let text = format!("commit {A}\nparents {B}\nauthor {author}\ntime 2026-03-02T11:58:00Z\nsubject {subject}\n\nM\tx\n");
            let log = parse_log(&text).expect("log");
            prop_assert_eq!(log.len(), 1);
            prop_assert_eq!(&log[0].paths, &[('M', "x".to_owned())]);
        }
    }
}
