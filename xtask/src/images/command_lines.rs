//! The command lines that the images carry: which are there, and what this machine can give of them.
//!
//! The Dockerfile's `tools` stage downloads them from their vendors, checked; what lies in `docker/tools/local/<arch>`
//! it takes instead. `fill` puts there what a machine with package registries only can get: programs that
//! `cargo xtask tools` builds from published modules, and Debian's packages. What it cannot get it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use super::manifest::{self, Tool};
use crate::report::{capture, say, step};
use crate::tools::{self, on_path, version};
use crate::workspace;

const IN_IMAGE: &str = "/opt/carapulse/tools/manifest.txt";

/// The Debian release whose packages are new enough: command line, package. The programs need nothing but a C library
/// that is no newer than the images'.
const DEBIAN: (&str, &[&str]) = ("trixie", &["gh"]);

/// One line of an image's list.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    /// What the program says; none when it is missing.
    pub version: Option<String>,
    /// Where it is from, or why it is missing.
    pub source: String,
}

impl Row {
    pub fn text(&self) -> String {
        match &self.version {
            Some(version) => format!("{version} ({})", self.source),
            None => format!("MISSING: {}", self.source),
        }
    }
}

/// What an image says it carries.
pub fn in_image(engine: &Engine, image: &str) -> Result<Vec<Row>> {
    rows(&engine.output_of(image, "/bin/cat", &[IN_IMAGE])?)
}

/// The bytes that they take in an image.
pub fn bytes_in_image(engine: &Engine, image: &str) -> Result<u64> {
    let text = engine.output_of(image, "/usr/bin/du", &["-sb", "/opt/carapulse/tools"])?;
    let number = text.split_whitespace().next().unwrap_or_default();
    number.parse().with_context(|| format!("du printed `{text}`"))
}

/// Puts into the local folder what this machine can give.
pub fn fill() -> Result<()> {
    let folder = workspace::path("docker/tools/local").join(architecture()?);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for tool in manifest::load()?.tools {
        let target = folder.join(&tool.name);
        if target.is_file() {
            say(&format!("{}: already there", tool.name));
            continue;
        }
        match get(&tool).and_then(|path| place(&path, &target)) {
            Ok(()) => say(&format!("{}: in {}", tool.name, folder.display())),
            Err(error) => say(&format!("{}: not to be had here: {error:#}", tool.name)),
        }
    }
    Ok(())
}

fn get(tool: &Tool) -> Result<PathBuf> {
    let (suite, packages) = DEBIAN;
    if packages.contains(&tool.name.as_str()) {
        return step(&format!("{} from Debian {suite}", tool.name), || {
            debian(suite, &tool.name)
        });
    }
    let path = tools::ensure(&tool.name)?;
    let probes = [["version", "--client"].as_slice(), &["version"], &["--version"]];
    let found = probes.iter().find_map(|probe| {
        let words: Vec<String> = probe.iter().map(|word| (*word).to_owned()).collect();
        version::of_program(&path, &words)
    });
    if found < version::parse(&tool.at_least) {
        bail!("{} is older than {}", path.display(), tool.at_least);
    }
    Ok(path)
}

/// A program of a Debian release other than this machine's: apt downloads and verifies the package in folders of its own.
fn debian(suite: &str, name: &str) -> Result<PathBuf> {
    if on_path("apt-get").is_none() {
        bail!("this machine has no apt-get");
    }
    let root = tools::cache_root()?.join("images").join(format!("apt-{suite}"));
    for folder in ["lists/partial", "archives/partial", "unpacked"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let mut ask = Command::new("apt-get");
    ask.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
    ]);
    let mirrors = capture(ask.stdin(Stdio::null()))?;
    let mirror = mirrors.lines().next().context("apt knows no Debian mirror")?;
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let sources = root.join("sources.list");
    fs::write(
        &sources,
        format!("deb [signed-by={keys}] {mirror} {suite} main\n"),
    )?;
    let shown = root.display();
    let set = [
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={shown}/lists"),
        format!("Dir::Cache={shown}"),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ];
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        for pair in &set {
            command.args(["-o", pair]);
        }
        capture(command.current_dir(&root).args(words).stdin(Stdio::null()))
    };
    apt(&["update"])?;
    apt(&["download", name])?;
    unpack(&root, name)
}

fn unpack(root: &Path, name: &str) -> Result<PathBuf> {
    let begin = format!("{name}_");
    let entries = fs::read_dir(root)?.collect::<std::io::Result<Vec<_>>>()?;
    let package = entries
        .iter()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
        .context("apt downloaded no package")?;
    let folder = root.join("unpacked");
    let mut command = Command::new("dpkg-deb");
    capture(command.arg("--extract").arg(package.path()).arg(&folder))?;
    Ok(folder.join("usr/bin").join(name))
}

/// Whole or not at all.
fn place(from: &Path, to: &Path) -> Result<()> {
    let aside = to.with_extension("part");
    fs::copy(from, &aside).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(fs::rename(&aside, to)?)
}

/// As Debian and Docker name this machine's.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("there are no images for {other}"),
    }
}

pub(super) fn rows(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines();
    if lines.next() != Some("name\tversion\tsource\tsha256") {
        bail!("{IN_IMAGE} does not begin with its heading:\n{text}");
    }
    lines.map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let [name, version, source, _sum] = line.split('\t').collect::<Vec<_>>()[..] else {
        bail!("`{line}` is no line of {IN_IMAGE}");
    };
    Ok(Row {
        name: name.to_owned(),
        version: (version != "missing").then(|| version.to_owned()),
        source: source.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_list_names_what_is_there_and_what_is_missing() {
        let text = "name\tversion\tsource\tsha256\nkubectl\t1.37.2\tlocal\t00ff\n\
                    vault\tmissing\tits vendor cannot be reached\t-\n";
        let found = rows(text).expect("well formed");
        assert_eq!(found[0].text(), "1.37.2 (local)");
        assert_eq!(found[1].text(), "MISSING: its vendor cannot be reached");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn another_file_is_no_list() {
        assert!(rows("kubectl 1.37.2").is_err());
        assert!(rows("name\tversion\tsource\tsha256\nkubectl 1.37.2").is_err());
    }
}
