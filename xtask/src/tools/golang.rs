//! Builds a tool from its published Go module into a folder.
//!
//! The machine's own `go env` decides where modules come from; only `direct` is taken off the end of GOPROXY,
//! because a build must not clone repositories. The build cache is one of our own and is removed afterwards:
//! Kubernetes alone would leave several gigabytes. The module cache stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::manifest::{Assemble, Binary, Kind, Tool};
use crate::folder;
use crate::report::{capture, run, step};

/// Builds all binaries of `tool` into `stage`, and its joined text file where it has one.
/// `scratch` is a folder for the build alone; the caller removes it.
pub fn build(tool: &Tool, stage: &Path, scratch: &Path) -> Result<()> {
    let module = tool.module.as_deref().context("a Go tool names its module")?;
    let go = Go::new(scratch)?;
    match tool.kind {
        Kind::GoBuild => fs::write(scratch.join("go.mod"), go_mod(tool, module, &go.version))?,
        // Its own go.mod has what `go install` refuses: it is built as the main module, in a copy.
        Kind::GoSource => folder::copy(&go.download(module, &tool.version)?, &scratch.join("source"))?,
        _ => {}
    }
    for binary in &tool.binaries {
        step(&format!("building {} {}", binary.name, tool.version), || {
            go.build(tool, binary, stage)
        })?;
    }
    match &tool.assemble {
        Some(file) => assemble(&go, tool, module, file, stage),
        None => Ok(()),
    }
}

/// The text of one file of a published module. The module is downloaded into `scratch`, which the caller removes.
pub fn module_file(module: &str, version: &str, path: &str, scratch: &Path) -> Result<String> {
    let wanted = format!("{module}@v{version}");
    let modules = scratch.join("modules");
    let mut command = Go::new(scratch)?.command();
    // Otherwise the module's files are read-only, and the folder cannot be removed again.
    command.env("GOMODCACHE", &modules).env("GOFLAGS", "-modcacherw");
    capture(command.args(["mod", "download", &wanted]))?;
    fs::read_to_string(modules.join(&wanted).join(path)).with_context(|| format!("{wanted} has no {path}"))
}

struct Go<'a> {
    scratch: &'a Path,
    proxy: String,
    /// `1.26.8`
    version: String,
}

impl<'a> Go<'a> {
    fn new(scratch: &'a Path) -> Result<Self> {
        let env = capture(Command::new("go").args(["env", "GOPROXY", "GOVERSION"]))
            .context("Go is needed to build this tool from its published module, and `go` does not run")?;
        let mut lines = env.lines();
        let proxy = without_direct(lines.next().unwrap_or_default());
        let version = lines.next().unwrap_or_default().trim_start_matches("go");
        let version = version.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self {
            scratch,
            proxy,
            version,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("go");
        command
            .current_dir(self.scratch)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-buildvcs=false")
            .env("GOWORK", "off")
            .env("GOCACHE", self.scratch.join("gocache"))
            .env("GOPROXY", &self.proxy);
        command
    }

    fn build(&self, tool: &Tool, binary: &Binary, stage: &Path) -> Result<()> {
        let package = binary
            .package
            .as_deref()
            .context("a Go binary names its package")?;
        let ldflags = format!("-s -w {}", tool.ldflags.join(" "));
        let mut command = self.command();
        match tool.kind {
            Kind::GoBuild => {
                let output = stage.join(&binary.name);
                command.args(["build", "-mod=mod", "-trimpath", "-ldflags", ldflags.trim(), "-o"]);
                command.arg(output).arg(package);
            }
            Kind::GoInstall => {
                command
                    .env("GOBIN", stage)
                    .args(["install", "-trimpath", "-ldflags", ldflags.trim()]);
                command.arg(format!("{package}@v{}", tool.version));
            }
            Kind::GoSource => {
                let output = stage.join(&binary.name);
                command.current_dir(self.scratch.join("source"));
                command.args(["build", "-trimpath", "-ldflags", ldflags.trim(), "-o"]);
                command.arg(output).arg(package);
            }
            Kind::Apt | Kind::Pip => bail!("`{}` is not a Go program", tool.name),
        }
        run(&mut command)
    }

    /// Downloads a module; where it is.
    fn download(&self, module: &str, version: &str) -> Result<PathBuf> {
        let wanted = format!("{module}@v{version}");
        let told = capture(self.command().args(["mod", "download", "-json", &wanted]))?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let folder = told["Dir"]
            .as_str()
            .with_context(|| format!("{wanted} has no folder"))?;
        Ok(PathBuf::from(folder))
    }
}

/// The folder of a tool's module, downloaded when it is not there.
pub fn module_folder(tool: &Tool) -> Result<PathBuf> {
    let module = tool.module.as_deref().context("a Go tool names its module")?;
    let scratch = std::env::temp_dir();
    Go::new(&scratch)?.download(module, &tool.version)
}

/// A module of our own that only requires the tool's, so that its `replace` lines can be given.
fn go_mod(tool: &Tool, module: &str, go_version: &str) -> String {
    let mut text = format!(
        "module tools.invalid/{}\n\ngo {go_version}\n\nrequire {module} v{}\n\n",
        tool.name, tool.version
    );
    for other in &tool.requires {
        text.push_str(&format!("require {other}\n\n"));
    }
    for name in &tool.replace {
        let path = format!("{}{name}", tool.replace_prefix);
        text.push_str(&format!("replace {path} => {path} {}\n", tool.replace_version));
    }
    text
}

fn assemble(go: &Go<'_>, tool: &Tool, module: &str, file: &Assemble, stage: &Path) -> Result<()> {
    let wanted = format!("{module}@v{}", tool.version);
    let root = go.download(module, &tool.version)?;
    let mut documents = Vec::new();
    for folder in &file.from {
        let folder = root.join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut paths: Vec<_> = entries
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|ext| ext == "yaml")
                && path.file_name().is_some_and(|name| name != "kustomization.yaml")
        });
        paths.sort();
        for path in paths {
            documents.push(fs::read_to_string(&path)?);
        }
    }
    if documents.is_empty() {
        bail!("{wanted} has no YAML under {}", file.from.join(", "));
    }
    fs::write(stage.join(&file.name), documents.join("---\n"))?;
    Ok(())
}

fn without_direct(proxy: &str) -> String {
    let proxy = proxy.trim();
    let cut = proxy
        .strip_suffix(",direct")
        .or_else(|| proxy.strip_suffix("|direct"));
    cut.unwrap_or(proxy).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::manifest;

    #[test]
    fn only_a_trailing_direct_is_taken_off_the_proxy() {
        assert_eq!(without_direct("https://a.invalid,direct\n"), "https://a.invalid");
        assert_eq!(without_direct("https://a.invalid|direct"), "https://a.invalid");
        assert_eq!(
            without_direct("https://a.invalid,https://b.invalid"),
            "https://a.invalid,https://b.invalid"
        );
        assert_eq!(without_direct("direct"), "direct");
    }

    #[test]
    fn the_module_requires_the_tool_and_replaces_its_staging_modules() {
        let tools = manifest::load().expect("the manifest parses");
        let kubernetes = tools
            .iter()
            .find(|tool| tool.name == "kubernetes")
            .expect("listed");
        let text = go_mod(kubernetes, "k8s.io/kubernetes", "1.26.8");
        assert!(text.contains("require k8s.io/kubernetes v1.37.2\n"), "{text}");
        assert!(
            text.contains("replace k8s.io/client-go => k8s.io/client-go v0.37.2\n"),
            "{text}"
        );
        assert!(text.contains("\ngo 1.26.8\n"), "{text}");
    }
}
