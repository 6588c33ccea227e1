//! The two programs that read the counters. The toolchain's own are used when its component is installed; else the
//! system's package of `tools.toml`, whose format of counts is the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::report::{capture, say};
use crate::{tools, workspace};

/// Everything that is not the product's own code.
const IGNORED: &str =
    r"(/registry/|/rustc/|/rustlib/|/target[^/]*/|^tests/|/tests/|/benches/|/xtask/|/tests\.rs$)";

pub struct Llvm {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Llvm {
    pub fn find() -> Result<Self> {
        if let Some(found) = Self::of_toolchain()? {
            return Ok(found);
        }
        let found = Self {
            profdata: tools::ensure("llvm-profdata-19")?,
            cov: tools::ensure("llvm-cov-19")?,
        };
        say("the toolchain has no llvm-tools (`rustup component add llvm-tools`); the system's are used");
        Ok(found)
    }

    fn of_toolchain() -> Result<Option<Self>> {
        let mut rustc = Command::new("rustc");
        let sysroot = capture(rustc.current_dir(workspace::root()).args(["--print", "sysroot"]))?;
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        for entry in fs::read_dir(&rustlib).with_context(|| rustlib.display().to_string())? {
            let bin = entry?.path().join("bin");
            let found = Self {
                profdata: bin.join("llvm-profdata"),
                cov: bin.join("llvm-cov"),
            };
            if found.profdata.is_file() && found.cov.is_file() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All counts in one file. What a killed process left half-written is passed over.
    pub fn merge(&self, counts: &[PathBuf], merged: &Path) -> Result<PathBuf> {
        let list = merged.with_extension("list");
        let names: String = counts
            .iter()
            .map(|path| format!("{}\n", path.display()))
            .collect();
        fs::write(&list, names)?;
        let mut merge = Command::new(&self.profdata);
        merge.args(["merge", "--sparse", "--failure-mode=all", "--input-files"]);
        capture(merge.arg(&list).arg("--output").arg(merged))?;
        Ok(merged.to_path_buf())
    }

    /// The totals a file, as llvm-cov's JSON.
    pub fn totals(&self, profile: &Path, objects: &[PathBuf]) -> Result<String> {
        capture(
            self.export(profile, objects)
                .args(["--format=text", "--summary-only"]),
        )
    }

    pub fn lcov(&self, profile: &Path, objects: &[PathBuf]) -> Result<String> {
        capture(self.export(profile, objects).arg("--format=lcov"))
    }

    fn export(&self, profile: &Path, objects: &[PathBuf]) -> Command {
        let mut export = Command::new(&self.cov);
        export
            .arg("export")
            .arg(format!("--instr-profile={}", profile.display()));
        export.arg(format!("--ignore-filename-regex={IGNORED}"));
        for object in objects {
            export.arg("--object").arg(object);
        }
        export
    }
}
