//! What the workflows call: actions by commit, front-door commands that exist.

use anyhow::{Result, bail};
use clap::Parser as _;

use crate::cli::Cli;

/// Every action is named by its whole commit, with the version behind `#`.
pub fn actions_are_pinned(name: &str, text: &str) -> Result<()> {
    let mut loose = Vec::new();
    let mut seen = 0;
    for line in text.lines() {
        let trimmed = line.trim_start().trim_start_matches("- ");
        let Some(action) = trimmed.strip_prefix("uses: ") else {
            continue;
        };
        seen += 1;
        if !action.starts_with("./") && !pinned(action) {
            loose.push(action.to_owned());
        }
    }
    if seen == 0 {
        bail!("{name} uses no action at all");
    }
    if !loose.is_empty() {
        bail!("{name}: not pinned by commit and version: {}", loose.join(", "));
    }
    Ok(())
}

/// `owner/repo@<40 hex> # v1.2.3`
fn pinned(action: &str) -> bool {
    let Some((reference, version)) = action.split_once(" # v") else {
        return false;
    };
    let commit = reference.split_once('@').map_or("", |(_, commit)| commit);
    let whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole && version.starts_with(|first: char| first.is_ascii_digit())
}

/// Every `cargo xtask …` in the text is one that this program knows, with options that it knows.
pub fn commands_exist(name: &str, text: &str) -> Result<usize> {
    let mut unknown = Vec::new();
    let mut seen = 0;
    for line in text.lines() {
        let line = line.split_once(" #").map_or(line, |(code, _)| code);
        let Some((before, command)) = line.split_once("cargo xtask ") else {
            continue;
        };
        if before.trim_start().starts_with('#') {
            continue;
        }
        seen += 1;
        let command = command.split(['>', '|', ';', '&']).next().unwrap_or_default();
        let words = command.split_whitespace().map(|word| word.trim_matches('"'));
        if let Err(error) = Cli::try_parse_from(std::iter::once("xtask").chain(words)) {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            unknown.push(format!("`cargo xtask {}`: {first}", command.trim()));
        }
    }
    if !unknown.is_empty() {
        bail!("{name}: {}", unknown.join("; "));
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_by_tag_by_branch_or_without_its_version_is_found() {
        let commit = "de0fac2e4500dabe0009e67214ff5f5447ce83dd";
        let good =
            format!("    - uses: actions/checkout@{commit} # v6.0.2\n    uses: ./.github/workflows/x.yml\n");
        assert!(actions_are_pinned("t", &good).is_ok());
        for bad in [
            "actions/checkout@v6",
            "actions/checkout@main # v6",
            &format!("actions/checkout@{commit}"),
        ] {
            assert!(
                actions_are_pinned("t", &format!("- uses: {bad}\n")).is_err(),
                "{bad}"
            );
        }
        assert!(actions_are_pinned("t", "jobs: {}").is_err());
    }

    #[test]
    fn a_command_that_the_front_door_does_not_know_is_found() {
        let text = "- run: cargo xtask tidy\n- run: cargo xtask ci --quick > log\n# cargo xtask nonsense\n";
        assert_eq!(commands_exist("t", text).expect("known"), 2);
        assert!(commands_exist("t", "- run: cargo xtask tidyy").is_err());
        assert!(commands_exist("t", "- run: cargo xtask ci --slow").is_err());
    }
}
