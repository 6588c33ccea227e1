//! The Compose files.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::repository::{Repository, at};
use super::compose_services as services;

const BASE: &str = "compose/compose.yaml";
const SIMULATION: &str = "compose/compose.simulation.yaml";
/// What must not be reachable from a container: whoever has one has the machine.
const SOCKETS: &[&str] = &["docker.sock", "podman.sock", "containerd.sock"];

/// An error unless the check passes for the base file.
fn base(files: &Repository, check: fn(&Value) -> Result<()>) -> Result<()> {
    check(&files.yaml(BASE)?).context(BASE)
}

pub fn services_are_there(files: &Repository) -> Result<()> {
    base(files, services::all_are_there)
}

pub fn images_are_pinned(files: &Repository) -> Result<()> {
    base(files, services::images_are_exact)?;
    services::images_are_exact(&files.yaml(SIMULATION)?).context(SIMULATION)
}

pub fn temporal_is_waited_for(files: &Repository) -> Result<()> {
    base(files, services::temporal_is_healthy_first)
}

pub fn data_has_volumes(files: &Repository) -> Result<()> {
    base(files, services::data_has_volumes)
}

pub fn agent_is_opt_in(files: &Repository) -> Result<()> {
    base(files, services::agent_is_opt_in)
}

pub fn migrations_come_first(files: &Repository) -> Result<()> {
    base(files, services::migrations_come_first)
}

pub fn configuration_is_read_only(files: &Repository) -> Result<()> {
    base(files, |value| services::read_only_under(value, "/etc/carapulse"))
}

pub fn policies_are_read_only(files: &Repository) -> Result<()> {
    base(files, |value| services::read_only_under(value, "/policies"))
}

pub fn services_are_confined(files: &Repository) -> Result<()> {
    base(files, services::confined)
}

pub fn services_are_checked(files: &Repository) -> Result<()> {
    base(files, services::checked)
}

pub fn networks_are_explicit(files: &Repository) -> Result<()> {
    base(files, services::networks_are_explicit)
}

pub fn a_bucket_is_made(files: &Repository) -> Result<()> {
    base(files, services::a_bucket_is_made)
}

pub fn health_check_calls(files: &Repository, service: &str, program: &str) -> Result<()> {
    services::health_check_calls(&files.yaml(BASE)?, service, program).context(BASE)
}

pub fn localstack_is_whole(files: &Repository) -> Result<()> {
    services::localstack(&overlaid(files)?).context(SIMULATION)
}

/// A simulated service has an image that ends so.
pub fn simulated(files: &Repository, service: &str, ending: &str) -> Result<()> {
    let value = overlaid(files)?;
    let image = at(&value, &format!("/services/{service}/image"))?
        .as_str()
        .unwrap_or_default();
    let image = services::default_of(image);
    if !image.split('@').next().unwrap_or_default().ends_with(ending) {
        bail!("{SIMULATION}: {service} runs {image}");
    }
    Ok(())
}

/// A service says so in its own lines, or in the script that it runs.
pub fn simulation_says(files: &Repository, service: &str, wanted: &str) -> Result<()> {
    let value = overlaid(files)?;
    let lines = serde_json::to_string(at(&value, &format!("/services/{service}"))?)?;
    if lines.contains(wanted) {
        return Ok(());
    }
    for script in files.files("compose", ".sh").unwrap_or_default() {
        let name = script.strip_prefix("compose").unwrap_or(&script);
        if lines.contains(name) && files.text(&script)?.contains(wanted) {
            return Ok(());
        }
    }
    bail!("{SIMULATION}: {service} does not say `{wanted}`")
}

/// The base file with the overlay laid over it, as far as these checks look: mappings are joined, the rest is replaced.
fn overlaid(files: &Repository) -> Result<Value> {
    let mut value = files.yaml(BASE)?;
    lay_over(&mut value, files.yaml(SIMULATION)?);
    Ok(value)
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

pub fn simulation_is_seeded_first(files: &Repository) -> Result<()> {
    services::seeded_first(&overlaid(files)?).context(SIMULATION)
}

/// No file of the delivery names an engine's socket, except to say that it does not.
pub fn no_socket_anywhere(files: &Repository) -> Result<()> {
    let mut named = vec!["Dockerfile".to_owned()];
    for folder in ["compose", "chart", "docker"] {
        for ending in [".yaml", ".yml", ".tpl", ".toml", ".sh", ".env"] {
            named.extend(files.files(folder, ending).unwrap_or_default());
        }
    }
    for file in named {
        for line in files
            .text(&file)?
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
        {
            if let Some(socket) = SOCKETS.iter().find(|socket| line.contains(**socket)) {
                bail!("{file} names {socket}: {}", line.trim());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn repository(files: &[(&str, &str)]) -> (tempfile::TempDir, Repository) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let repository = Repository::at(folder.path());
        (folder, repository)
    }

    #[test]
    fn a_socket_is_found_in_any_file_and_a_comment_is_not_a_mount() {
        let (_folder, clean) = repository(&[
            ("Dockerfile", "FROM x"),
            ("compose/a.yaml", "# no docker.sock\na: 1"),
        ]);
        assert!(no_socket_anywhere(&clean).is_ok());
        for file in ["compose/a.yaml", "chart/templates/b.yaml", "docker/c.sh"] {
            let mounted = (file, "x: /var/run/docker.sock:/var/run/docker.sock");
            let (_folder, dirty) = repository(&[("Dockerfile", "FROM x"), mounted]);
            assert!(no_socket_anywhere(&dirty).is_err(), "{file}");
        }
    }

    #[test]
    fn what_a_script_seeds_counts_only_where_the_script_is_run() {
        let base = "services:\n  vault-init: { image: 'hashicorp/vault:1.15.6' }\n  other: {}\n";
        let overlay = "services:\n  vault-init: { command: [sh, /seed.sh] }\n";
        let seed = ("compose/seed.sh", "vault kv put carapulse/config a=b");
        let (_folder, files) = repository(&[(BASE, base), (SIMULATION, overlay), seed]);
        assert!(simulation_says(&files, "vault-init", "carapulse/config").is_ok());
        assert!(simulation_says(&files, "other", "carapulse/config").is_err());
        assert!(simulated(&files, "vault-init", ":1.15.6").is_ok());
        assert!(simulated(&files, "vault-init", ":1.16.0").is_err());
        assert!(simulation_says(&files, "nobody", "carapulse/config").is_err());
    }
}
