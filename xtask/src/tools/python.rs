//! Installs a published Python package into a virtual environment of its own.
//!
//! The environment stands where it will be used, because its programs name their interpreter by its whole path.
//! The links to the programs are made last: a tool whose install was cut short has none, so it is not there yet.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::manifest::Tool;
use crate::report::{capture, step};

/// Installs `tool` into `home`, which holds nothing else; what an earlier try left there goes first.
pub fn install(tool: &Tool, home: &Path) -> Result<()> {
    let package = tool.package.as_deref().context("a pip tool names its package")?;
    super::remove_tree(home);
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    step(&format!("installing the Python package {package}"), || {
        let environment = home.join("venv");
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&environment);
        capture(venv.stdin(Stdio::null())).context("Python 3 with its module `venv` is needed")?;
        let wanted = home.join("requirements.txt");
        fs::write(&wanted, requirement(package, tool))?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--only-binary=:all:",
        ]);
        pip.arg("--disable-pip-version-check").arg("--requirement");
        capture(pip.arg(&wanted).stdin(Stdio::null()))?;
        link_programs(tool, home)
    })
}

/// One line of a requirements file; with hashes, pip refuses every file that has another.
fn requirement(package: &str, tool: &Tool) -> String {
    let mut line = format!("{package}=={}", tool.version);
    for hash in &tool.hashes {
        line.push_str(" --hash=");
        line.push_str(hash);
    }
    line.push('\n');
    line
}

fn link_programs(tool: &Tool, home: &Path) -> Result<()> {
    for binary in &tool.binaries {
        let inside = Path::new("venv/bin").join(&binary.name);
        if !home.join(&inside).is_file() {
            bail!("the package has no program `{}`", binary.name);
        }
        symlink(inside, home.join(&binary.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(hashes: &[&str]) -> Tool {
        let row = format!(
            "name='linter'\nversion='1.2.3'\nkind='pip'\npackage='linter-cli'\nwhy='w'\nhashes={hashes:?}\n\
             binaries=[{{ name='linter', probe=[] }}]\n"
        );
        toml::from_str(&row).expect("a row")
    }

    #[test]
    fn a_requirement_is_exact_and_carries_every_hash() {
        assert_eq!(requirement("linter-cli", &tool(&[])), "linter-cli==1.2.3\n");
        let line = requirement("linter-cli", &tool(&["sha256:aa", "sha256:bb"]));
        assert_eq!(line, "linter-cli==1.2.3 --hash=sha256:aa --hash=sha256:bb\n");
    }

    #[test]
    fn programs_are_linked_only_when_the_package_brought_them() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let error = link_programs(&tool(&[]), home.path()).expect_err("nothing is installed");
        assert!(error.to_string().contains("no program `linter`"), "{error}");

        fs::create_dir_all(home.path().join("venv/bin")).expect("made");
        fs::write(home.path().join("venv/bin/linter"), "").expect("written");
        link_programs(&tool(&[]), home.path()).expect("linked");
        assert!(home.path().join("linter").is_file());
    }
}
