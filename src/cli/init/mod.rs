//! `carapulse init [DIR] [--for WAY]`: every key and secret that is needed, and the files that name them.
//!
//! Always holds: what is there is kept; a key is made once. A file a way of running it: without one, a single
//! configuration for one machine; with one, a folder a service, which holds what that service may know and nothing else.

mod chart;
mod compose;
mod files;
mod roles;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::config::Secrets;

/// `carapulse init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where; it is made when it is missing. What is there is kept
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// How it will run; without it, on this machine
    #[arg(long = "for", value_name = "WAY", value_enum)]
    way: Option<Way>,
    #[command(flatten)]
    installation: chart::Installation,
}

/// A way of running it that needs files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Docker Compose: a folder a service, to be mounted into it
    Compose,
    /// The Helm chart: a Secret a role, as manifests and as values
    Chart,
}

pub(super) fn run(init: &Init) -> anyhow::Result<()> {
    fs::create_dir_all(&init.folder).with_context(|| format!("making {}", init.folder.display()))?;
    let secrets = Secrets::in_folder(init.folder.join("secrets"));
    for (name, purpose) in secrets.make_missing()? {
        outln!("made {}: {purpose}", secrets.folder().join(name).display());
    }
    match init.way {
        None => one_machine(init),
        Some(Way::Compose) => compose::write(&init.folder, &secrets),
        Some(Way::Chart) => chart::write(&init.folder, &secrets, &init.installation),
    }
}

fn one_machine(init: &Init) -> anyhow::Result<()> {
    let file = init.folder.join("carapulse.toml");
    let closed = closed_to_postgres(&init.folder)?;
    files::keep(&file, &template(closed.is_none()), "names them")?;
    if let Some(closed) = closed {
        outln!(
            "note: Postgres does not run as root, and its user cannot get through {}: data is kept in the default folder, \
             see `carapulse --config {} config print`",
            closed.display(),
            file.display()
        );
    }
    outln!("next: carapulse --config {} serve", file.display());
    Ok(())
}

/// Everything in the one folder, where our own Postgres can work there.
fn template(data_beside: bool) -> String {
    let line = if data_beside {
        "# The database, objects and all else that this machine keeps: a folder beside this file.\ndata_dir = \"data\""
    } else {
        "# data_dir = \"/var/lib/carapulse\""
    };
    TEMPLATE.replacen("# data_dir", line, 1)
}

/// The folder on the way that is closed to the user under whom root runs Postgres, if there is one.
fn closed_to_postgres(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let whole = fs::canonicalize(folder)?;
    for folder in whole.ancestors() {
        if fs::metadata(folder)?.permissions().mode() & 0o001 == 0 {
            return Ok(Some(folder.to_owned()));
        }
    }
    Ok(None)
}

const TEMPLATE: &str = r#"# Made by `carapulse init`. `carapulse config schema` describes every key; `carapulse config check` reads this file.
# A secret is a reference: file:PATH (relative to this file) or env:NAME.

# data_dir

[database]
# Without a url, carapulse runs its own Postgres in the data folder, and the passwords below are not used. With one,
# `carapulse migrate up` makes the four roles and gives them these passwords.
# url = "postgres://localhost:5432/carapulse"

[database.owner]
password = "file:secrets/db_owner_password"

[database.gateway]
password = "file:secrets/db_gateway_password"

[database.orchestrator]
password = "file:secrets/db_orchestrator_password"

[database.tool_router]
password = "file:secrets/db_router_password"

[database.sequencer]
password = "file:secrets/db_sequencer_password"

[gateway]
http_addr = ":8080"
approval_key = "file:secrets/approval_key"

[tool_router]
http_addr = ":8081"
auth_token = "file:secrets/router_token"
approval_public_keys = ["file:secrets/approval_key.pub"]
job_key = "file:secrets/job_key"

[orchestrator]
health_addr = ":8085"
checkpoint_key = "file:secrets/checkpoint_key"

[sandbox]
http_addr = ":8091"
router_public_key = "file:secrets/job_key.pub"
sealing_key = "file:secrets/sealing_key"
signing_key = "file:secrets/sandbox_key"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Gateway, Sources, ToolRouter, signing_key, verifying_key};

    #[test]
    fn what_init_makes_is_a_valid_configuration_whose_keys_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let init = Init {
            folder: folder.path().join("new"),
            way: None,
            installation: chart::Installation::default(),
        };
        run(&init).unwrap();
        let file = init.folder.join("carapulse.toml");
        let config = Config::load(&Sources {
            file: Some(file.clone()),
            ..Sources::default()
        })
        .unwrap();
        config.document().unwrap();
        let gateway: Gateway = config.get().unwrap();
        let router: ToolRouter = config.get().unwrap();
        let key = signing_key(&gateway.approval_key.unwrap()).unwrap();
        assert_eq!(
            verifying_key(&router.approval_public_keys[0]).unwrap(),
            key.verifying_key()
        );

        for beside in [true, false] {
            fs::write(&file, template(beside)).unwrap();
            let sources = Sources {
                file: Some(file.clone()),
                ..Sources::default()
            };
            let config = Config::load(&sources).unwrap();
            assert_eq!(config.data_dir() == init.folder.join("data"), beside);
        }

        fs::write(&file, "# mine").unwrap();
        run(&init).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "# mine");
    }
}
