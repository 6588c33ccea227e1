//! Reading the version that a program prints of itself, and judging whether it will do.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::report::both_streams;

/// Major, minor, patch; pre-release marks are not looked at.
pub type Version = (u32, u32, u32);

/// The first `x.y.z` (or `x.y`) in a text, with or without a leading `v`.
pub fn parse(text: &str) -> Option<Version> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '+' || c == '~'))
        .find_map(word)
}

/// Whether `found` may stand in for a tool that must be at least `min`: same major version, not older.
pub fn suits(found: Version, min: Version) -> bool {
    found.0 == min.0 && found >= min
}

/// Asks a program for its version; none when it cannot be run or prints none.
pub fn of_program(program: &Path, probe: &[String]) -> Option<Version> {
    let output = Command::new(program)
        .args(probe)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse(&both_streams(&output))
}

fn word(word: &str) -> Option<Version> {
    let digits = word.strip_prefix('v').unwrap_or(word);
    let end = digits
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(digits.len());
    let mut parts = digits[..end].split('.').map(str::parse::<u32>);
    let major = parts.next()?.ok()?;
    let minor = parts.next()?.ok()?;
    let patch = parts.next().and_then(Result::ok).unwrap_or(0);
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(
            parse("etcd Version: 3.7.0\nGit SHA: Not provided\nGo Version: go1.26.8"),
            Some((3, 7, 0))
        );
        assert_eq!(parse("Kubernetes v1.37.2"), Some((1, 37, 2)));
        assert_eq!(
            parse("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0"),
            Some((1, 32, 4))
        );
        assert_eq!(
            parse("prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5)"),
            Some((2, 42, 0))
        );
        assert_eq!(parse("alertmanager, version 0.25.0 (branch"), Some((0, 25, 0)));
        assert_eq!(parse("no version here"), None);
    }

    #[test]
    fn an_older_or_another_major_version_does_not_do() {
        assert!(suits((1, 37, 2), (1, 34, 0)));
        assert!(!suits((1, 32, 4), (1, 34, 0)));
        assert!(!suits((4, 0, 0), (3, 5, 0)));
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(of_program(Path::new("/nonexistent/etcd"), &[]), None);
    }
}
