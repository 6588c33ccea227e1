//! `xtask/tools.toml` as types: which servers and tools, at which version, got how.
//!
//! Unknown keys are refused, so that a misspelt field cannot be silently ignored.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const MANIFEST: &str = include_str!("../../tools.toml");

/// One row of `tools.toml`: a unit that is fetched together and has one version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    /// Without a leading `v`.
    pub version: String,
    pub kind: Kind,
    pub why: String,
    pub binaries: Vec<Binary>,
    /// Go module (kinds `go-build`, `go-install`, `go-source`).
    pub module: Option<String>,
    /// System package (kind `apt`) or Python package (kind `pip`).
    pub package: Option<String>,
    /// Digests that the files of a Python package may have, as pip writes them: `sha256:…`, one a platform.
    #[serde(default)]
    pub hashes: Vec<String>,
    /// Left out by `all`: the command that needs it fetches it.
    #[serde(default)]
    pub on_demand: bool,
    /// Services that the system package would start: stopped and disabled after the install.
    #[serde(default)]
    pub services: Vec<String>,
    /// The oldest version of a binary on PATH that may be used; none = never from PATH.
    pub path_min: Option<String>,
    /// Further modules that the build requires, `path version` each (kind `go-build`).
    #[serde(default)]
    pub requires: Vec<String>,
    #[serde(default)]
    pub ldflags: Vec<String>,
    #[serde(default)]
    pub replace: Vec<String>,
    #[serde(default)]
    pub replace_prefix: String,
    #[serde(default)]
    pub replace_version: String,
    pub assemble: Option<Assemble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    GoBuild,
    GoInstall,
    GoSource,
    Apt,
    Pip,
}

/// One program of a tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    pub name: String,
    /// Other names under which PATH may have it.
    #[serde(default)]
    pub also: Vec<String>,
    /// Go package to build.
    pub package: Option<String>,
    /// Arguments that make it print its version.
    pub probe: Vec<String>,
}

/// A text file joined from the `*.yaml` of some folders of the Go module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assemble {
    pub name: String,
    pub from: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    tool: Vec<Tool>,
}

/// All rows of `tools.toml`.
pub fn load() -> Result<Vec<Tool>> {
    parse(MANIFEST)
}

/// The tools that `names` mean: each a tool's name, a binary's name or `all` (which the end-to-end tests need).
pub fn select<'a>(tools: &'a [Tool], names: &[String]) -> Result<Vec<&'a Tool>> {
    let mut chosen: Vec<&Tool> = Vec::new();
    for name in names {
        let matching: Vec<&Tool> = tools
            .iter()
            .filter(|tool| (name == "all" && !tool.on_demand) || tool.is_called(name))
            .collect();
        if matching.is_empty() {
            let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
            bail!("no tool is called `{name}`; known: {}", known.join(", "));
        }
        for tool in matching {
            if !chosen.iter().any(|seen| seen.name == tool.name) {
                chosen.push(tool);
            }
        }
    }
    Ok(chosen)
}

impl Tool {
    /// Names of the files that a fetch of this tool leaves behind.
    pub fn products(&self) -> Vec<&str> {
        let programs = self.binaries.iter().map(|binary| binary.name.as_str());
        programs
            .chain(self.assemble.iter().map(|file| file.name.as_str()))
            .collect()
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.products().contains(&name)
    }
}

fn parse(text: &str) -> Result<Vec<Tool>> {
    let manifest: Manifest = toml::from_str(text).context("xtask/tools.toml")?;
    for tool in &manifest.tool {
        let complete = match tool.kind {
            Kind::GoBuild | Kind::GoInstall | Kind::GoSource => {
                tool.module.is_some() && tool.binaries.iter().all(|binary| binary.package.is_some())
            }
            Kind::Apt => tool.package.is_some() && tool.path_min.is_some(),
            Kind::Pip => tool.package.is_some(),
        };
        if !complete {
            bail!(
                "xtask/tools.toml: `{}` lacks a field that its kind needs",
                tool.name
            );
        }
    }
    Ok(manifest.tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_manifest_is_complete() {
        let tools = load().expect("the manifest parses");
        for name in [
            "etcd",
            "kube-apiserver",
            "kubectl",
            "kwok-stages.yaml",
            "opa",
            "amtool",
        ] {
            assert_eq!(select(&tools, &[name.to_owned()]).expect(name).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_tool_named_twice_is_fetched_once_and_an_unknown_name_is_refused() {
        let tools = load().expect("the manifest parses");
        let names = ["kubectl", "kube-scheduler", "all"].map(str::to_owned);
        let of_all = tools.iter().filter(|tool| !tool.on_demand).count();
        assert_eq!(select(&tools, &names).expect("known names").len(), of_all);
        let error = select(&tools, &["kubctl".to_owned()]).expect_err("a misspelt name");
        assert!(
            error.to_string().contains("no tool is called `kubctl`"),
            "{error}"
        );
    }

    #[test]
    fn what_one_command_needs_is_fetched_by_its_name_and_not_by_all() {
        let row = "[[tool]]\nname='x'\nversion='1.0.0'\nkind='pip'\npackage='x'\nwhy='w'\nbinaries=[]\n";
        let tools = parse(&format!("{row}on_demand=true\n")).expect("complete");
        assert_eq!(select(&tools, &["x".to_owned()]).expect("named").len(), 1);
        assert!(select(&tools, &["all".to_owned()]).is_err());
    }

    #[test]
    fn a_misspelt_key_or_a_missing_field_is_refused() {
        let row = "[[tool]]\nname='x'\nversion='1.0.0'\nkind='go-install'\nwhy='w'\nbinaries=[]\n";
        assert!(
            parse(row)
                .expect_err("no module")
                .to_string()
                .contains("lacks a field")
        );
        assert!(parse(&format!("{row}module='m'\n")).is_ok());
        assert!(parse(&format!("{row}modul='m'\n")).is_err());
    }
}
