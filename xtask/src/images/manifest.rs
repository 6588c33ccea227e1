//! `xtask/images.toml` as types.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const MANIFEST: &str = include_str!("../../images.toml");

/// All images, and the command lines that some carry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(rename = "image")]
    pub images: Vec<Image>,
    #[serde(rename = "tool")]
    pub tools: Vec<Tool>,
}

/// One target of the Dockerfile, which is one role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub ports: Vec<u16>,
    /// Whether it carries git and the command lines.
    pub tools: bool,
    /// Without those, in millions of bytes.
    pub budget_mb: u64,
}

/// One command line that actions call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    /// The build argument that names its version.
    pub arg: String,
    pub at_least: String,
}

/// The file.
pub fn load() -> Result<Manifest> {
    toml::from_str(MANIFEST).context("xtask/images.toml")
}

impl Manifest {
    /// The images of these names; all for none.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Image>> {
        if names.is_empty() {
            return Ok(self.images.iter().collect());
        }
        let find = |name: &String| self.images.iter().find(|image| image.name == *name);
        let mut chosen = Vec::new();
        for name in names {
            match find(name) {
                Some(image) => chosen.push(image),
                None => bail!("there is no image `{name}`; there are {}", self.names()),
            }
        }
        Ok(chosen)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.images.iter().map(|image| image.name.as_str()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_five_images_and_eight_command_lines() {
        let manifest = load().expect("it is valid");
        assert_eq!(
            manifest.names(),
            "gateway, tool-router, orchestrator, agent, sandbox"
        );
        assert_eq!(manifest.tools.len(), 8);
    }

    #[test]
    fn an_image_that_is_not_there_is_named() {
        let manifest = load().expect("it is valid");
        let error = manifest
            .select(&["canvas".to_owned()])
            .expect_err("no such image");
        assert!(error.to_string().contains("`canvas`"), "{error}");
        assert_eq!(manifest.select(&[]).expect("all").len(), 5);
    }
}
