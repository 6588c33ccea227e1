//! The chart, by what it renders to: the snapshots under `chart/ci/snapshots`, which `cargo xtask chart snapshot` holds to
//! the templates.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::repository::{Repository, text_at};
use super::chart_objects as objects;

const SNAPSHOTS: &str = "chart/ci/snapshots";

/// Everything that a set of values renders to.
struct Rendered {
    file: String,
    objects: Vec<Value>,
}

fn snapshots(files: &Repository) -> Result<Vec<Rendered>> {
    let names = files.files(SNAPSHOTS, ".yaml")?;
    names
        .into_iter()
        .map(|file| {
            Ok(Rendered {
                objects: files.documents(&file)?,
                file,
            })
        })
        .collect()
}

/// An error unless `check` passes for the objects of every snapshot.
fn in_each(files: &Repository, check: fn(&[Value]) -> Result<()>) -> Result<()> {
    for rendered in snapshots(files)? {
        check(&rendered.objects).with_context(|| rendered.file.clone())?;
    }
    Ok(())
}

/// Some values make the chart render such an object.
pub fn renders(files: &Repository, kind: &str, name: &str) -> Result<()> {
    let found = snapshots(files)?.iter().any(|rendered| {
        objects::of_kind(&rendered.objects, kind).any(|object| objects::is_called(object, name))
    });
    if !found {
        bail!("no values of the matrix render a {kind} of `{name}`");
    }
    Ok(())
}

pub fn every_workload_has_probes(files: &Repository) -> Result<()> {
    in_each(files, objects::probes)
}

pub fn pods_are_confined(files: &Repository) -> Result<()> {
    in_each(files, objects::confined)
}

pub fn tmp_is_writable(files: &Repository) -> Result<()> {
    in_each(files, objects::tmp)
}

pub fn configuration_is_secret(files: &Repository) -> Result<()> {
    in_each(files, objects::no_configuration_in_config_maps)
}

pub fn configuration_is_summed(files: &Repository) -> Result<()> {
    in_each(files, objects::summed)
}

pub fn nothing_by_sub_path(files: &Repository) -> Result<()> {
    in_each(files, objects::whole_directories)
}

pub fn rights_are_read_only(files: &Repository) -> Result<()> {
    in_each(files, objects::read_only)
}

pub fn one_account_each(files: &Repository) -> Result<()> {
    in_each(files, objects::accounts_apart)
}

pub fn egress_is_closed(files: &Repository) -> Result<()> {
    in_each(files, objects::closed)
}

pub fn dsn_comes_from_a_secret(files: &Repository) -> Result<()> {
    in_each(files, objects::no_dsn_in_the_open)
}

pub fn job_is_a_hook(files: &Repository) -> Result<()> {
    in_each(files, objects::hook)
}

pub fn job_tries_three_times(files: &Repository) -> Result<()> {
    in_each(files, objects::three_tries)
}

pub fn job_finds_what_it_needs(files: &Repository) -> Result<()> {
    in_each(files, objects::needs_come_first)
}

pub fn metadata_is_whole(files: &Repository) -> Result<()> {
    let chart = files.yaml("chart/Chart.yaml")?;
    for key in [
        "/icon",
        "/home",
        "/maintainers/0/name",
        "/sources/0",
        "/kubeVersion",
        "/annotations",
    ] {
        if chart.pointer(key).is_none() {
            bail!("Chart.yaml has no `{key}`");
        }
    }
    let icon = text_at(&chart, "/icon")?;
    if !icon.ends_with("chart/icon.svg") {
        bail!("the icon is not the one in the repository: {icon}");
    }
    Ok(())
}

/// Said where people look: in the Dockerfile, in the images' document and in the chart's values.
pub fn migration_image_is_explained(files: &Repository) -> Result<()> {
    for file in ["Dockerfile", "docs/images.md", "chart/values.yaml"] {
        let text = files.text(file)?.to_lowercase();
        if !(text.contains("migrat") && text.contains("gateway")) {
            bail!("{file} does not say whose image migrates");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_values_render_is_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let snapshots = folder.path().join(SNAPSHOTS);
        std::fs::create_dir_all(&snapshots).expect("made");
        let text =
            "kind: Service\nmetadata: { name: x-gateway }\n---\nkind: Job\nmetadata: { name: x-migration }\n";
        std::fs::write(snapshots.join("default.yaml"), text).expect("written");
        let files = Repository::at(folder.path());
        assert!(renders(&files, "Service", "gateway").is_ok());
        assert!(renders(&files, "Service", "agent").is_err());
        assert!(renders(&files, "Ingress", "gateway").is_err());
        assert!(
            job_is_a_hook(&files)
                .expect_err("no hook")
                .to_string()
                .contains("default.yaml")
        );
    }
}
