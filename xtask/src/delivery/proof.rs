//! Carrying out a row's proofs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use super::repository::Repository;
use super::rows::{Proof, Row};
use crate::report::{both_streams, last_lines, say, seconds};
use crate::{tools, workspace};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Runs no command.
    Files,
    Quick,
    Full,
}

/// What became of a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// What could be proved here was; why the rest was not.
    Partly(Vec<String>),
    NotRun(Vec<String>),
    Failed(String),
}

/// Carries out all proofs of a row. The first that fails decides.
pub fn of(row: &Row, repository: &Repository, commands: &mut Commands) -> Outcome {
    let mut passed = 0;
    let mut reasons = Vec::new();
    for file in row.files {
        if !repository.path(file).exists() {
            return Outcome::Failed(format!("{file} is not there"));
        }
    }
    for proof in row.proofs {
        let result = match proof {
            Proof::Read(check) => Some(check(repository)),
            Proof::Quick(command) => commands.run(command, true, &mut reasons),
            Proof::Full(command) => commands.run(command, false, &mut reasons),
            Proof::GitHub(what) => noted(&mut reasons, format!("only on GitHub: {what}")),
            Proof::Absent(why) => noted(&mut reasons, (*why).to_owned()),
        };
        match result {
            Some(Ok(())) => passed += 1,
            Some(Err(error)) => return Outcome::Failed(format!("{error:#}")),
            None => {}
        }
    }
    match (passed, reasons.is_empty()) {
        (0, _) => Outcome::NotRun(reasons),
        (_, true) => Outcome::Passed,
        (_, false) => Outcome::Partly(reasons),
    }
}

fn noted(reasons: &mut Vec<String>, reason: String) -> Option<Result<()>> {
    reasons.push(reason);
    None
}

/// Runs front-door commands, each once however many rows name it.
pub struct Commands {
    mode: Mode,
    packages_only: bool,
    ran: BTreeMap<String, Result<(), String>>,
}

impl Commands {
    pub fn new(mode: Mode, packages_only: bool) -> Self {
        Self {
            mode,
            packages_only,
            ran: BTreeMap::new(),
        }
    }

    /// None, and a reason more, when it was not run.
    fn run(&mut self, command: &str, quick: bool, reasons: &mut Vec<String>) -> Option<Result<()>> {
        match self.mode {
            Mode::Files => return noted(reasons, format!("not with --files: cargo xtask {command}")),
            Mode::Quick if !quick => {
                return noted(reasons, format!("not with --quick: cargo xtask {command}"));
            }
            Mode::Quick | Mode::Full => {}
        }
        if let Some(lack) = lacking(command, tools::on_path("docker").is_some(), can_install()) {
            return noted(reasons, lack);
        }
        let packages_only = self.packages_only;
        let result = self.ran.entry(command.to_owned()).or_insert_with(|| {
            let started = Instant::now();
            say(&format!("cargo xtask {command} …"));
            let result = front_door(command, packages_only).map_err(|error| format!("{error:#}"));
            say(&format!("cargo xtask {command}: {}", seconds(started.elapsed())));
            result
        });
        Some(result.clone().map_err(anyhow::Error::msg))
    }
}

/// This very program with other arguments.
fn front_door(command: &str, packages_only: bool) -> Result<()> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program);
    child
        .current_dir(workspace::root())
        .args(command.split_whitespace());
    if packages_only && is_images(command) {
        child.arg("--packages-only");
    }
    let output = child.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = last_lines(&both_streams(&output), 25);
        bail!("`cargo xtask {command}` ended with {}\n{said}", output.status);
    }
    Ok(())
}

/// Why this machine cannot run a command, when it cannot.
fn lacking(command: &str, docker: bool, installs: bool) -> Option<String> {
    let builds = is_images(command) && command != "images lint";
    let needs = builds || command == "compose smoke" || command == "chart pods";
    (needs && !docker && !installs)
        .then(|| format!("cargo xtask {command} needs Docker, or root on Debian to install podman"))
}

/// `images` alone builds all and checks all.
fn is_images(command: &str) -> bool {
    command.split_whitespace().next() == Some("images")
}

fn can_install() -> bool {
    nix::unistd::geteuid().is_root() && Path::new("/etc/debian_version").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(proofs: &'static [Proof]) -> Row {
        Row {
            id: "T1",
            says: "a test",
            here: "",
            files: &[],
            proofs,
        }
    }

    fn outcome(proofs: &'static [Proof]) -> Outcome {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut commands = Commands::new(Mode::Quick, false);
        of(&row(proofs), &Repository::at(folder.path()), &mut commands)
    }

    #[test]
    fn one_failed_proof_fails_the_row() {
        const PROOFS: &[Proof] = &[Proof::Read(|_| Ok(())), Proof::Read(|_| anyhow::bail!("no"))];
        assert_eq!(outcome(PROOFS), Outcome::Failed("no".to_owned()));
    }

    #[test]
    fn what_was_not_run_is_never_passed() {
        const ELSEWHERE: &[Proof] = &[Proof::GitHub("a signature")];
        assert!(matches!(outcome(ELSEWHERE), Outcome::NotRun(_)));
        const DEAR: &[Proof] = &[Proof::Full("images")];
        assert!(matches!(outcome(DEAR), Outcome::NotRun(_)));
        const BOTH: &[Proof] = &[Proof::Read(|_| Ok(())), Proof::Full("images")];
        assert!(matches!(outcome(BOTH), Outcome::Partly(reasons) if reasons.len() == 1));
    }

    #[test]
    fn a_file_that_is_gone_fails_the_row() {
        let gone = Row {
            files: &["no/such/file"],
            ..row(&[Proof::Read(|_| Ok(()))])
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut commands = Commands::new(Mode::Quick, false);
        let outcome = of(&gone, &Repository::at(folder.path()), &mut commands);
        assert_eq!(outcome, Outcome::Failed("no/such/file is not there".to_owned()));
    }

    #[test]
    fn containers_need_an_engine_or_the_right_to_install_one() {
        assert!(lacking("images", false, false).is_some());
        assert!(lacking("compose smoke", false, false).is_some());
        assert!(lacking("images", true, false).is_none());
        assert!(lacking("images lint", false, false).is_none());
        assert!(lacking("chart lint", false, false).is_none());
    }
}
