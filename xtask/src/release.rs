//! `cargo xtask release`: what a release consists of, made by the same commands here and in the workflow.
//!
//! `archive` builds the executable for one platform and packs it with licence, readme and changelog; the same sources
//! give the same archive. `check` refuses a tag that the crate, the chart or the changelog contradicts. `notes` prints
//! one version's part of the changelog.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cli::ReleaseCommand;
use crate::report::{capture, run as run_command, say, step};
use crate::workspace;

const CHANGELOG: &str = "CHANGELOG.md";
const CHART: &str = "chart/Chart.yaml";
/// Both packages take the workspace's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Beside the executable in every archive.
const PAPERS: &[&str] = &["LICENSE", "README.md", CHANGELOG];

/// Runs `xtask release …`.
pub fn run(command: &ReleaseCommand) -> Result<()> {
    match command {
        ReleaseCommand::Archive { target, out } => archive(target, out),
        ReleaseCommand::Check { tag } => check(tag),
        ReleaseCommand::Notes { version } => {
            print!("{}", notes(&read(CHANGELOG)?, bare(version))?);
            Ok(())
        }
    }
}

fn archive(target: &str, out: &Path) -> Result<()> {
    let name = format!("carapulse-{VERSION}-{target}");
    step(&format!("building for {target}"), || {
        let mut build = workspace::cargo(&["build", "--locked", "--release", "--package=carapulse"]);
        run_command(build.args(["--bin=carapulse", "--target", target]))
    })?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let out = fs::canonicalize(out)?;
    let stage = out.join(format!(".{name}"));
    let folder = stage.join(&name);
    fs::create_dir_all(&folder)?;
    let executable = folder.join("carapulse");
    fs::copy(built(target)?, &executable)?;
    for paper in PAPERS {
        fs::copy(workspace::path(paper), folder.join(paper))?;
    }
    says_its_version(&executable, VERSION)?;
    let file = out.join(format!("{name}.tar.gz"));
    let packed = pack(&stage, &name, &file);
    fs::remove_dir_all(&stage)?;
    packed?;
    say(&format!("wrote {}", file.display()));
    Ok(())
}

/// Sorted, of no time and of nobody; `gzip -n` writes no time either.
fn pack(stage: &Path, name: &str, file: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args([
        "--mode=u=rwX,go=rX",
        "--use-compress-program=gzip -9n",
        "--create",
        "--file",
    ]);
    run_command(tar.arg(file).arg("--directory").arg(stage).arg(name))
}

fn built(target: &str) -> Result<PathBuf> {
    let metadata = capture(&mut workspace::cargo(&[
        "metadata",
        "--format-version=1",
        "--no-deps",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("cargo names its target folder")?;
    Ok(Path::new(folder).join(target).join("release/carapulse"))
}

fn says_its_version(executable: &Path, version: &str) -> Result<()> {
    let said = capture(Command::new(executable).arg("--version"))?;
    if !said.split_whitespace().any(|word| word == version) {
        bail!("`carapulse --version` says `{}`, not {version}", said.trim());
    }
    Ok(())
}

fn check(tag: &str) -> Result<()> {
    let contradictions = contradictions(bare(tag), VERSION, &read(CHART)?, &read(CHANGELOG)?)?;
    if !contradictions.is_empty() {
        bail!("{tag} cannot be released:\n  {}", contradictions.join("\n  "));
    }
    say(&format!("{tag}: crate, chart and changelog agree"));
    Ok(())
}

fn contradictions(version: &str, crate_version: &str, chart: &str, changelog: &str) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Chart {
        version: String,
        app_version: String,
    }
    let chart: Chart = serde_saphyr::from_str(chart).context(CHART)?;
    let mut wrong = Vec::new();
    for (what, said) in [
        ("Cargo.toml", crate_version),
        ("the chart's version", &chart.version),
        ("the chart's appVersion", &chart.app_version),
    ] {
        if said != version {
            wrong.push(format!("{what} says {said}"));
        }
    }
    wrong.extend(notes(changelog, version).err().map(|error| error.to_string()));
    Ok(wrong)
}

/// The part under `## [version]`, without its heading; an error when there is none or it is empty.
fn notes(changelog: &str, version: &str) -> Result<String> {
    let heading = format!("## [{version}]");
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with(&heading));
    if lines.next().is_none() {
        bail!("{CHANGELOG} has no part `{heading}`");
    }
    let part: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let text = part.join("\n");
    if text.trim().is_empty() {
        bail!("{CHANGELOG}: the part `{heading}` is empty");
    }
    Ok(format!("{}\n", text.trim()))
}

fn bare(tag: &str) -> &str {
    tag.strip_prefix('v').unwrap_or(tag)
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(workspace::path(file)).with_context(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG_TEXT: &str = "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [1.2.0] - 2026-01-02\n\n### Added\n\n- this\n\n## [1.1.0]\n";
    const CHART_TEXT: &str = "apiVersion: v2\nname: carapulse\nversion: 1.2.0\nappVersion: \"1.2.0\"\n";

    #[test]
    fn notes_are_one_version_s_part() {
        assert_eq!(
            notes(CHANGELOG_TEXT, "1.2.0").expect("there"),
            "### Added\n\n- this\n"
        );
        assert!(notes(CHANGELOG_TEXT, "1.1.0").is_err(), "an empty part");
        assert!(notes(CHANGELOG_TEXT, "9.9.9").is_err(), "no part");
    }

    #[test]
    fn a_tag_that_crate_chart_or_changelog_contradict_is_refused() {
        let wrong =
            |version, of_crate| contradictions(version, of_crate, CHART_TEXT, CHANGELOG_TEXT).expect("read");
        assert_eq!(wrong("1.2.0", "1.2.0"), Vec::<String>::new());
        assert_eq!(wrong("1.2.0", "1.1.9"), ["Cargo.toml says 1.1.9"]);
        assert_eq!(wrong("1.3.0", "1.3.0").len(), 3);
    }

    #[test]
    fn the_same_folder_gives_the_same_archive() {
        let stage = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(stage.path().join("n")).expect("made");
        fs::write(stage.path().join("n/file"), "text").expect("written");
        let archives = ["a.tar.gz", "b.tar.gz"].map(|name| {
            let file = stage.path().join(name);
            pack(stage.path(), "n", &file).expect("packed");
            fs::read(file).expect("there")
        });
        assert_eq!(archives[0], archives[1]);
    }
}
