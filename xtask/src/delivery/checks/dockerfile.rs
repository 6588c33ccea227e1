//! The Dockerfile, beyond what `cargo xtask images lint` holds it to.

use anyhow::{Context, Result, bail};

use super::super::repository::Repository;
use crate::images::Dockerfile;
use crate::tools::version;

const TARGETS: &[&str] = &["gateway", "tool-router", "orchestrator", "agent", "sandbox"];
const USER: &str = "10001:10001";
/// The audit's arguments and versions.
const COMMAND_LINES: &[(&str, &str)] = &[
    ("KUBECTL_VERSION", "1.29.0"),
    ("HELM_VERSION", "3.14.0"),
    ("ARGOCD_VERSION", "2.10.0"),
    ("VAULT_VERSION", "1.15.6"),
    ("BOUNDARY_VERSION", "0.14.4"),
    ("GH_VERSION", "2.45.0"),
    ("GLAB_VERSION", "1.46.0"),
    ("AWSCLI_VERSION", "2.13.0"),
];

/// One target: it takes the executable from another stage, runs as nobody in particular, and asks itself for its health.
pub fn target(files: &Repository, name: &str) -> Result<()> {
    let file = read(files)?;
    let lines = chain(&file, name)?;
    let user = last(&lines, "USER");
    if user != Some(USER) {
        bail!("target {name} runs as {user:?}");
    }
    if !lines.iter().any(|line| line.starts_with("COPY --from=build ")) {
        bail!("target {name} does not take the executable from the stage that built it");
    }
    own_health_check(&lines, name)
}

pub fn all_run_as_10001(files: &Repository) -> Result<()> {
    TARGETS.iter().try_for_each(|name| target(files, name))
}

pub fn exposes(files: &Repository, name: &str, port: &str) -> Result<()> {
    let file = read(files)?;
    let lines = chain(&file, name)?;
    let exposed = last(&lines, "EXPOSE").unwrap_or_default();
    if !exposed.split_whitespace().any(|word| word == port) || exposed.contains("7233") {
        bail!("target {name} exposes `{exposed}`");
    }
    own_health_check(&lines, name)
}

pub fn health_checks_need_no_other_program(files: &Repository) -> Result<()> {
    let file = read(files)?;
    TARGETS
        .iter()
        .try_for_each(|name| own_health_check(&chain(&file, name)?, name))
}

pub fn paths_are_remapped(files: &Repository) -> Result<()> {
    remapped(&read(files)?)
}

pub fn command_lines_are_pinned(files: &Repository) -> Result<()> {
    pinned(&read(files)?)?;
    let script = files.text("docker/tools/install.sh")?;
    if !script.contains("sha256sum") {
        bail!("docker/tools/install.sh checks no sum");
    }
    Ok(())
}

pub fn dependencies_come_first(files: &Repository) -> Result<()> {
    cooked_before_copied(&read(files)?)
}

pub fn bases_are_exact(files: &Repository) -> Result<()> {
    exact_bases(&read(files)?)
}

pub fn tools_are_installed_once(files: &Repository) -> Result<()> {
    one_tools_stage(&read(files)?)
}

fn read(files: &Repository) -> Result<Dockerfile> {
    Ok(Dockerfile::parse(&files.text("Dockerfile")?))
}

/// The instructions of a stage and of those that it stands on, the lowest first.
fn chain<'a>(file: &'a Dockerfile, name: &str) -> Result<Vec<&'a str>> {
    let stage = file
        .stage(name)
        .with_context(|| format!("there is no target `{name}`"))?;
    let mut lines = if file.stage(&stage.from).is_some() {
        chain(file, &stage.from)?
    } else {
        Vec::new()
    };
    lines.extend(stage.lines.iter().map(String::as_str));
    Ok(lines)
}

fn last<'a>(lines: &[&'a str], instruction: &str) -> Option<&'a str> {
    let mut found = lines
        .iter()
        .rev()
        .filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
    found.next()
}

fn own_health_check(lines: &[&str], name: &str) -> Result<()> {
    let check = last(lines, "HEALTHCHECK").unwrap_or_default();
    let command = format!("CMD [\"/usr/local/bin/carapulse\", \"healthcheck\", \"--role\", \"{name}\"]");
    if !check.ends_with(&command) {
        bail!("target {name} has the HEALTHCHECK `{check}`");
    }
    Ok(())
}

fn remapped(file: &Dockerfile) -> Result<()> {
    let lines = chain(file, "build")?;
    for flag in [
        "--remap-path-prefix=",
        "-ffile-prefix-map=",
        "SOURCE_DATE_EPOCH=0",
    ] {
        if !lines
            .iter()
            .any(|line| line.starts_with("ENV ") && line.contains(flag))
        {
            bail!("the build does not set {flag}");
        }
    }
    Ok(())
}

fn pinned(file: &Dockerfile) -> Result<()> {
    for (argument, least) in COMMAND_LINES {
        let set = file.argument(argument).unwrap_or_default();
        let found = version::parse(set).with_context(|| format!("ARG {argument}={set} is no version"))?;
        if Some(found) < version::parse(least) {
            bail!("ARG {argument}={set} is older than {least}");
        }
    }
    Ok(())
}

fn cooked_before_copied(file: &Dockerfile) -> Result<()> {
    let lines = chain(file, "build")?;
    let cooked = lines.iter().position(|line| line.contains("cargo chef cook"));
    let copied = lines.iter().position(|line| line.starts_with("COPY src "));
    match (cooked, copied) {
        (Some(cooked), Some(copied)) if cooked < copied => Ok(()),
        _ => bail!("the sources are copied before the dependencies are built"),
    }
}

/// Every base that is no stage of the file: no `latest`, a whole version or a date.
fn exact_bases(file: &Dockerfile) -> Result<()> {
    let mut bases = 0;
    for stage in &file.stages {
        let named = stage
            .from
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        let base = named
            .map_or(Some(stage.from.as_str()), |name| file.argument(name))
            .unwrap_or_default();
        if file.stage(base).is_some() {
            continue;
        }
        bases += 1;
        let tag = base.rsplit_once(':').map_or("", |(_, tag)| tag);
        let whole = tag.split('-').any(|part| part.matches('.').count() >= 2);
        let dated = tag
            .split('-')
            .any(|part| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_digit()));
        if !(whole || dated || base.contains("@sha256:")) {
            bail!("the base `{base}` is not exact");
        }
    }
    if bases == 0 {
        bail!("the Dockerfile names no base");
    }
    Ok(())
}

fn one_tools_stage(file: &Dockerfile) -> Result<()> {
    for name in ["tool-router", "sandbox"] {
        if !chain(file, name)?
            .iter()
            .any(|line| line.starts_with("COPY --from=tools "))
        {
            bail!("target {name} does not take the command lines from the stage `tools`");
        }
    }
    let installs = |line: &&String| line.starts_with("RUN ") && line.contains("/tmp/tools/install.sh");
    let count = file
        .stages
        .iter()
        .flat_map(|stage| &stage.lines)
        .filter(installs)
        .count();
    if count != 1 {
        bail!("the command lines are installed {count} times");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
ARG DEBIAN=docker.io/library/debian:bookworm-20260824-slim
ARG KUBECTL_VERSION=v1.37.2
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
ENV RUSTFLAGS=--remap-path-prefix=/a=/b CFLAGS=-ffile-prefix-map=/a=/b SOURCE_DATE_EPOCH=0
RUN cargo chef cook
COPY src src
FROM ${DEBIAN} AS tools
RUN sh /tmp/tools/install.sh
FROM ${DEBIAN} AS base
FROM base AS sandbox
COPY --from=tools /opt /opt
COPY --from=build /out/carapulse /usr/local/bin/carapulse
USER 10001:10001
EXPOSE 8091
HEALTHCHECK --interval=10s CMD [\"/usr/local/bin/carapulse\", \"healthcheck\", \"--role\", \"sandbox\"]
FROM sandbox AS tool-router
";

    fn finds(check: fn(&Dockerfile) -> Result<()>, from: &str, to: &str) {
        assert!(TEXT.contains(from), "{from}");
        check(&Dockerfile::parse(TEXT)).expect("as it must be");
        assert!(
            check(&Dockerfile::parse(&TEXT.replace(from, to))).is_err(),
            "{from} → {to}"
        );
    }

    #[test]
    fn a_base_that_moves_is_found() {
        finds(exact_bases, "bookworm-20260824-slim", "bookworm-slim");
        finds(exact_bases, "rust:1.95.0-slim-bookworm", "rust:latest");
        finds(exact_bases, "rust:1.95.0-slim-bookworm", "rust");
    }

    #[test]
    fn sources_before_dependencies_and_lost_flags_are_found() {
        finds(
            cooked_before_copied,
            "RUN cargo chef cook\nCOPY src src",
            "COPY src src\nRUN cargo chef cook",
        );
        finds(remapped, "-ffile-prefix-map=", "-g");
    }

    #[test]
    fn tools_that_are_installed_twice_or_not_at_all_are_found() {
        finds(
            one_tools_stage,
            "FROM ${DEBIAN} AS base",
            "FROM ${DEBIAN} AS base\nRUN sh /tmp/tools/install.sh",
        );
        finds(one_tools_stage, "COPY --from=tools", "COPY --from=elsewhere");
    }

    #[test]
    fn a_health_check_by_another_program_is_found() {
        let own = |file: &Dockerfile| own_health_check(&chain(file, "sandbox")?, "sandbox");
        finds(
            own,
            "CMD [\"/usr/local/bin/carapulse\", \"healthcheck\"",
            "CMD [\"curl\"",
        );
    }

    #[test]
    fn a_command_line_older_than_the_audit_s_is_found() {
        let file = Dockerfile::parse("ARG KUBECTL_VERSION=v1.28.0\nFROM debian:x AS one\n");
        assert!(
            pinned(&file)
                .expect_err("old")
                .to_string()
                .contains("KUBECTL_VERSION")
        );
        let file = Dockerfile::parse("FROM debian:x AS one\n");
        assert!(pinned(&file).is_err());
    }

    #[test]
    fn another_user_in_the_stage_or_below_it_is_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |text: &str| std::fs::write(folder.path().join("Dockerfile"), text).expect("written");
        let files = Repository::at(folder.path());
        write(TEXT);
        assert!(target(&files, "sandbox").is_ok());
        assert!(exposes(&files, "sandbox", "8091").is_ok() && exposes(&files, "sandbox", "8085").is_err());
        write(&TEXT.replace("USER 10001:10001", "USER root"));
        assert!(target(&files, "sandbox").is_err());
        assert!(target(&files, "nowhere").is_err());
    }
}
