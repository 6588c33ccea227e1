//! What must be true of the Dockerfile before anything is built: exact bases, versions, users, ports, health checks.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::dockerfile::{Dockerfile, Stage};
use super::manifest::{Image, Manifest, Tool};
use crate::tools::version;
use crate::workspace;

/// Everything that is wrong, a line each.
pub fn findings(file: &Dockerfile, manifest: &Manifest, rust: &str) -> Vec<String> {
    let mut found = bases(file, rust);
    found.extend(manifest.tools.iter().filter_map(|tool| old(file, tool)));
    for image in &manifest.images {
        match file.stage(&image.name) {
            Some(stage) => found.extend(target(stage, image)),
            None => found.push(format!("there is no target `{}`", image.name)),
        }
    }
    let all = file.stages.iter().flat_map(|stage| &stage.lines);
    for line in all {
        if line.contains("<<") || line.contains("--link") {
            found.push(format!("buildah cannot build `{line}`"));
        }
    }
    found
}

/// Patterns of `.dockerignore` that could leave out a part of the sources: all that are not anchored at the root, but for
/// documents there and the tests' snapshots. A module may be called `target`.
pub fn ignored(text: &str) -> Vec<String> {
    let harmless =
        |line: &str| line.starts_with('/') || ["*.md", "**/*.snap", "**/*.snap.new"].contains(&line);
    let lines = text.lines().map(str::trim);
    let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let loose = patterns.filter(|line| !harmless(line));
    loose
        .map(|line| format!(".dockerignore: `{line}` could leave out sources: begin it with /"))
        .collect()
}

/// The Rust that `rust-toolchain.toml` names.
pub fn rust_channel() -> Result<String> {
    #[derive(Deserialize)]
    struct File {
        toolchain: Toolchain,
    }
    #[derive(Deserialize)]
    struct Toolchain {
        channel: String,
    }
    let text = fs::read_to_string(workspace::path("rust-toolchain.toml")).context("rust-toolchain.toml")?;
    let file: File = toml::from_str(&text).context("rust-toolchain.toml")?;
    Ok(file.toolchain.channel)
}

/// The builder has the project's Rust; both bases are the same Debian; both tags are exact.
fn bases(file: &Dockerfile, rust: &str) -> Vec<String> {
    let mut found = Vec::new();
    let builder = tag(file.argument("RUST_IMAGE").unwrap_or_default());
    let base = tag(file.argument("DEBIAN_IMAGE").unwrap_or_default());
    let Some(debian) = builder.strip_prefix(&format!("{rust}-slim-")) else {
        found.push(format!(
            "RUST_IMAGE has the tag `{builder}`: expected {rust}-slim-DEBIAN, as rust-toolchain.toml says {rust}"
        ));
        return found;
    };
    let date = base
        .strip_prefix(&format!("{debian}-"))
        .and_then(|rest| rest.strip_suffix("-slim"));
    if !date.is_some_and(|date| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())) {
        found.push(format!(
            "DEBIAN_IMAGE has the tag `{base}`: expected {debian}-YYYYMMDD-slim, of the same Debian as the builder"
        ));
    }
    found
}

/// The tag of a reference, without a digest.
fn tag(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    name.rsplit_once(':').map_or("", |(_, tag)| tag)
}

fn old(file: &Dockerfile, tool: &Tool) -> Option<String> {
    let set = file.argument(&tool.arg).unwrap_or_default();
    let (least, found) = (version::parse(&tool.at_least), version::parse(set));
    (found.is_none() || found < least).then(|| {
        format!(
            "ARG {}={set}: expected {} {} or newer",
            tool.arg, tool.name, tool.at_least
        )
    })
}

fn target(stage: &Stage, image: &Image) -> Vec<String> {
    let role = &image.name;
    let ports: Vec<String> = image.ports.iter().map(u16::to_string).collect();
    let health = format!("CMD [\"/usr/local/bin/carapulse\", \"healthcheck\", \"--role\", \"{role}\"]");
    let says = |instruction: &str| stage.last(instruction).unwrap_or_default();
    let expected = [
        ("USER", says("USER") == "10001:10001"),
        ("EXPOSE", says("EXPOSE") == ports.join(" ")),
        (
            "CMD",
            says("CMD") == format!("[\"serve\", \"--role\", \"{role}\"]"),
        ),
        ("HEALTHCHECK", says("HEALTHCHECK").ends_with(&health)),
        (
            "RUN",
            says("RUN") == "[\"/usr/local/bin/carapulse\", \"--version\"]",
        ),
        (
            "LABEL",
            says("LABEL").contains("org.opencontainers.image.revision="),
        ),
        ("FROM", (stage.from == "base-tools") == image.tools),
    ];
    let wrong = expected.into_iter().filter(|(_, holds)| !holds);
    wrong
        .map(|(instruction, _)| format!("target {role}: {instruction} is not as xtask/images.toml has it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::manifest;

    #[test]
    fn the_dockerfile_is_as_it_must_be() {
        let file = Dockerfile::read().expect("there");
        let found = findings(
            &file,
            &manifest::load().expect("valid"),
            &rust_channel().expect("there"),
        );
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn loose_bases_and_old_tools_are_found() {
        let manifest = manifest::load().expect("valid");
        let text = "ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm\nARG DEBIAN_IMAGE=debian:bookworm-slim\n\
                    ARG KUBECTL_VERSION=v1.28.9\nARG HELM_VERSION=v3.14.0\nFROM debian:x AS gateway\nUSER 0\n";
        let found = findings(&Dockerfile::parse(text), &manifest, "1.95.0").join("\n");
        for expected in [
            "DEBIAN_IMAGE has the tag `bookworm-slim`",
            "ARG KUBECTL_VERSION=v1.28.9: expected kubectl 1.29.0",
            "ARG GH_VERSION=: expected gh",
            "target gateway: USER",
            "there is no target `sandbox`",
        ] {
            assert!(found.contains(expected), "{expected}\n{found}");
        }
        assert!(!found.contains("HELM_VERSION"), "{found}");
        let other = findings(&Dockerfile::parse(text), &manifest, "1.96.0").join("\n");
        assert!(other.contains("rust-toolchain.toml says 1.96.0"), "{other}");
    }

    #[test]
    fn what_could_leave_out_sources_is_found() {
        assert_eq!(
            ignored("# **/x\n/target\n*.md\n**/*.snap\n"),
            Vec::<String>::new()
        );
        let found = ignored("**/target\n!/src\n");
        assert_eq!(found.len(), 2, "{found:?}");
        let own = std::fs::read_to_string(workspace::path(".dockerignore")).expect("there");
        assert_eq!(ignored(&own), Vec::<String>::new());
    }

    #[test]
    fn a_digest_is_no_part_of_the_tag() {
        assert_eq!(tag("h:5000/debian:x-1@sha256:0123"), "x-1");
        assert_eq!(tag("docker.io/library/debian"), "");
    }
}
