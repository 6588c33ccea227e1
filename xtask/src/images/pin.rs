//! `cargo xtask images pin`: appends to the Dockerfile's bases the digests that their registry gives for the tags.
//!
//! The digest is of the list of architectures, so that one line serves all of them. Needs skopeo and a registry that
//! answers; a base whose digest cannot be had is left as it is and named.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::dockerfile::Dockerfile;
use crate::report::{capture, say, step};
use crate::workspace;

const BASES: [&str; 2] = ["RUST_IMAGE", "DEBIAN_IMAGE"];

/// Rewrites the lines whose digest is known.
pub fn run() -> Result<()> {
    let path = workspace::path("Dockerfile");
    let mut text = fs::read_to_string(&path)?;
    let file = Dockerfile::parse(&text);
    let mut missing = Vec::new();
    for name in BASES {
        let reference = file.argument(name).context("the Dockerfile names its bases")?;
        let tagged = reference.split('@').next().unwrap_or(reference);
        match step(&format!("digest of {tagged}"), || digest(tagged)) {
            Ok(digest) => {
                text = pinned(&text, name, &format!("{tagged}@{digest}"));
                say(&format!("{name}={tagged}@{digest}"));
            }
            Err(error) => missing.push(format!("  {tagged}: {error:#}")),
        }
    }
    fs::write(&path, text)?;
    if !missing.is_empty() {
        bail!("no digest, left as they are:\n{}", missing.join("\n"));
    }
    Ok(())
}

fn digest(tagged: &str) -> Result<String> {
    let mut command = Command::new("skopeo");
    command.args(["inspect", "--no-tags", "--format", "{{.Digest}}"]);
    command.arg(format!("docker://{tagged}"));
    let digest = capture(command.stdin(Stdio::null()))?.trim().to_owned();
    if !is_digest(&digest) {
        bail!("skopeo printed `{digest}`");
    }
    Ok(digest)
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The text with another default for one argument: where it has one, which is once.
fn pinned(text: &str, name: &str, value: &str) -> String {
    let begin = format!("ARG {name}=");
    let lines = text.lines().map(|line| match line.starts_with(&begin) {
        true => format!("{begin}{value}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_with_the_default_is_rewritten_and_again_gives_the_same() {
        let text = "ARG A=x:1\nARG B=y:2\nFROM ${A}\nARG A\n";
        let once = pinned(text, "A", "x:1@sha256:00");
        assert_eq!(once, "ARG A=x:1@sha256:00\nARG B=y:2\nFROM ${A}\nARG A\n");
        assert_eq!(pinned(&once, "A", "x:1@sha256:00"), once);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        assert!(is_digest(&format!("sha256:{}", "0a".repeat(32))));
        assert!(!is_digest("sha256:0a"));
        assert!(!is_digest(&"0a".repeat(35)));
    }
}
