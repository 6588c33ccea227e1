//! Images of other people's servers where no registry can be reached: the real programs, built from their published
//! sources or taken from Debian, under the names that compose.yaml has. Each carries a label that says so.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::engine::{Engine, with_settings};
use crate::folder;
use crate::report::{capture, say, step};
use crate::tools::{self, cache_root, on_path};
use crate::workspace;

/// Image, target of the recipe, what it really is.
const IMAGES: &[(&str, &str, &str)] = &[
    (
        "docker.io/library/postgres:15.14-bookworm",
        "postgres",
        "Debian's Postgres 15",
    ),
    (
        "docker.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
        "minio",
        "MinIO, built here",
    ),
    (
        "docker.io/minio/mc:RELEASE.2025-08-13T08-35-41Z",
        "mc",
        "MinIO's mc, built here",
    ),
    (
        "docker.io/openpolicyagent/opa:1.22.2-static",
        "opa",
        "OPA 1.22.2, built here",
    ),
    (
        "docker.io/temporalio/server:1.29.1",
        "temporal-server",
        "Temporal 1.29.1, built here",
    ),
    (
        "docker.io/temporalio/admin-tools:1.29.1-tctl-1.18.4-cli-1.5.0",
        "temporal-admin-tools",
        "Temporal's tools and schema 1.29.1, built here",
    ),
    (
        "docker.io/temporalio/ui:2.42.1",
        "temporal-ui",
        "Temporal's web page 2.42.1, built here",
    ),
    (
        "docker.io/prom/prometheus:v3.5.0",
        "prometheus",
        "Debian's Prometheus 2.42",
    ),
    (
        "docker.io/localstack/localstack:3.1",
        "localstack",
        "moto 5.2.5, which is other software",
    ),
];

/// What no machine without a registry can have: their services are validated and not run.
pub const NOT_HAD: &[(&str, &str)] = &[
    ("grafana", "not published as something that can be built here"),
    (
        "otel-collector",
        "not published as something that can be built here",
    ),
    ("vault", "no published version builds from its sources"),
    ("vault-init", "needs Vault"),
];

/// Programs that the recipe copies.
const PROGRAMS: &[&str] = &[
    "minio",
    "mc",
    "opa",
    "temporal-server",
    "temporal-sql-tool",
    "temporal",
    "temporal-ui-server",
];

/// The base that `cargo xtask images` makes or pulls.
const BASE: &str = "DEBIAN_IMAGE";

/// Makes every image that is missing.
pub fn ensure(engine: &Engine) -> Result<()> {
    let missing: Vec<_> = IMAGES
        .iter()
        .filter(|(image, ..)| !engine.has_image(image))
        .collect();
    if missing.is_empty() {
        say("other people's servers: stand-ins built here earlier, see `stand_ins.rs`");
        return Ok(());
    }
    let context = cache_root()?.join("compose/stand-ins");
    fill(&context)?;
    for (image, target, what) in missing {
        step(&format!("stand-in for {image}: {what}"), || {
            build(&context, target, image)
        })?;
    }
    Ok(())
}

/// The recipe, the programs and the two trees that it copies.
fn fill(context: &Path) -> Result<()> {
    fs::create_dir_all(context)?;
    folder::copy(&workspace::path("xtask/src/compose/stand-ins"), context)?;
    for program in PROGRAMS {
        let built = tools::ensure(program)?;
        fs::copy(&built, context.join(program)).with_context(|| built.display().to_string())?;
    }
    let schema = tools::module_folder("temporal")?.join("schema");
    folder::copy(&schema, &context.join("schema"))?;
    let page = tools::module_folder("temporal-ui")?.join("config/docker.yaml");
    fs::write(context.join("ui.yaml"), fs::read(&page)?)?;
    // pip finds the machine's own index, and its certificates, in there.
    let settings = ["/etc/pip.conf"].iter().find_map(|path| fs::read(path).ok());
    Ok(fs::write(context.join("pip.conf"), settings.unwrap_or_default())?)
}

fn build(context: &Path, target: &str, image: &str) -> Result<()> {
    let (program, word) = match on_path("buildah") {
        Some(_) => ("buildah", "bud"),
        None => ("podman", "build"),
    };
    let mut command = with_settings(program);
    command.args([word, "--isolation=chroot", "--layers", "--format=docker"]);
    command.args([
        "--build-arg",
        &format!("{BASE}={}", base()?),
        "--target",
        target,
        "--tag",
        image,
    ]);
    capture(command.arg(context).stdin(Stdio::null())).map(drop)
}

/// The base of our own images, as the Dockerfile names it.
fn base() -> Result<String> {
    let recipe = fs::read_to_string(workspace::path("Dockerfile")).context("the repository's Dockerfile")?;
    let prefix = format!("ARG {BASE}=");
    let line = recipe.lines().find_map(|line| line.strip_prefix(&prefix));
    let name = line.with_context(|| format!("the Dockerfile has no {BASE}"))?;
    Ok(name.split('@').next().unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_the_files_has_a_stand_in_or_is_named_as_not_had() {
        let text = fs::read_to_string(workspace::path("compose/compose.yaml")).expect("the file");
        let images: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: "))
            .map(|image| image.rsplit(' ').next().unwrap_or(image))
            .filter(|image| !image.starts_with('*') && !image.contains("carapulse"))
            .collect();
        assert!(images.len() > 8, "{images:?}");
        for image in images {
            let stood_in = IMAGES
                .iter()
                .any(|(name, ..)| name.ends_with(&format!("/{image}")));
            let not_had = ["grafana", "otel", "vault"]
                .iter()
                .any(|name| image.contains(name));
            assert!(stood_in || not_had, "{image}");
        }
    }
}
