//! `carapulse init [DIR]`: every key and secret that one machine, Compose and the chart need, and a file that names them.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::config::Secrets;

/// `carapulse init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where; it is made when it is missing. What is there is kept
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(init: &Init) -> anyhow::Result<()> {
    fs::create_dir_all(&init.folder).with_context(|| format!("making {}", init.folder.display()))?;
    let secrets = Secrets::in_folder(init.folder.join("secrets"));
    for (name, purpose) in secrets.make_missing()? {
        outln!("made {}: {purpose}", secrets.folder().join(name).display());
    }
    let file = init.folder.join("carapulse.toml");
    match fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o644)
        .open(&file)
    {
        Ok(mut open) => {
            open.write_all(TEMPLATE.as_bytes())?;
            outln!("made {}: names them", file.display());
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            outln!("kept {}", file.display());
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    }
    outln!("next: carapulse --config {} serve", file.display());
    Ok(())
}

const TEMPLATE: &str = r#"# Made by `carapulse init`. `carapulse config schema` describes every key; `carapulse config check` reads this file.
# A secret is a reference: file:PATH (relative to this file) or env:NAME.

# data_dir = "/var/lib/carapulse"

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

        fs::write(&file, "# mine").unwrap();
        run(&init).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "# mine");
    }
}
