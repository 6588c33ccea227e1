//! `--for chart`: a Secret a role, as manifests for `kubectl apply` and as a values file for `helm -f`.
//!
//! `DIR/secrets` holds the masters. `DIR/chart` holds what is made of them, anew each time, for its owner only:
//! `secrets.yaml` or `values-secrets.yaml` (one of them is needed), and `owner.sql`, which makes the owner's login. Secrets of
//! other services (of the object store, Slack, a receiver of pages) are taken in when they lie in `DIR/secrets` under their names.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::files;
use crate::{
    config::{Secrets, resolve},
    store::{Address, DbRole},
};

/// What `--for chart` must be told.
#[derive(Debug, Clone, Args)]
pub struct Installation {
    /// For the chart: where the database is, postgres://HOST:PORT/DATABASE
    #[arg(
        long,
        value_name = "URL",
        default_value = "postgres://postgres:5432/carapulse"
    )]
    database: Address,
    /// For the chart: what its names begin with: the release's name, or `fullnameOverride`
    #[arg(long, value_name = "NAME", default_value = "carapulse", value_parser = parse_name)]
    name: String,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            database: "postgres://postgres:5432/carapulse"
                .parse()
                .expect("a constant that is an address"),
            name: "carapulse".to_owned(),
        }
    }
}

/// The owner's whole address, in the Secret of the migration.
const OWNER_DSN: &str = "postgres-dsn";

/// Component of the chart, key of its values, what its Secret holds, what it may hold beside that.
const PARTS: [(&str, &str, &[&str], &[&str]); 6] = [
    (
        "gateway",
        "gateway",
        &[
            "approval_key",
            "approval_key.pub",
            "router_token",
            "db_gateway_password",
        ],
        OBJECTS,
    ),
    (
        "tool-router",
        "toolRouter",
        &[
            "approval_key.pub",
            "job_key",
            "router_token",
            "sandbox_key.pub",
            "sealing_key.pub",
            "db_router_password",
        ],
        OBJECTS,
    ),
    (
        "orchestrator",
        "orchestrator",
        &[
            "checkpoint_key",
            "router_token",
            "db_orchestrator_password",
            "db_sequencer_password",
        ],
        &[
            "objects_key_id",
            "objects_secret_key",
            "notify_webhook_url",
            "pagerduty_routing_key",
        ],
    ),
    ("agent", "agent", &[], &["gateway_token", "slack_signing_secret"]),
    (
        "sandbox",
        "sandbox",
        &["sealing_key", "sandbox_key", "job_key.pub"],
        &[],
    ),
    (
        "migration",
        "migration",
        &[
            "db_gateway_password",
            "db_orchestrator_password",
            "db_router_password",
            "db_sequencer_password",
        ],
        &[],
    ),
];

/// Where the pods have no identity that the object store knows.
const OBJECTS: &[&str] = &["objects_key_id", "objects_secret_key"];

/// Name and text of each secret of one part.
type Held = Vec<(&'static str, SecretString)>;

/// Makes the files below `folder`, and says what comes next.
pub(super) fn write(folder: &Path, secrets: &Secrets, installation: &Installation) -> anyhow::Result<()> {
    let password = read(secrets, "db_owner_password")?;
    let owner = installation
        .database
        .with_user(DbRole::Owner.name(), Some(password.expose_secret()));
    let mut parts = Vec::new();
    for (component, key, needed, more) in PARTS {
        let mut held = hold(secrets, needed, more)?;
        if component == "migration" {
            held.insert(0, (OWNER_DSN, SecretString::from(owner.expose().to_owned())));
        }
        if !held.is_empty() {
            parts.push((component, key, held));
        }
    }
    let own = folder.join("chart");
    files::folder(&own, 0o700)?;
    private(&own.join("secrets.yaml"), &manifests(&installation.name, &parts)?)?;
    private(&own.join("values-secrets.yaml"), &values(&parts)?)?;
    private(
        &own.join("owner.sql"),
        &owner_sql(&installation.database, &password),
    )?;
    outln!(
        "next: psql -f {own}/owner.sql as an administrator of the database, unless its owner has a login already\n      \
         kubectl -n NAMESPACE apply -f {own}/secrets.yaml   (or: helm … -f {own}/values-secrets.yaml)",
        own = own.display()
    );
    Ok(())
}

fn hold(secrets: &Secrets, needed: &[&'static str], more: &[&'static str]) -> anyhow::Result<Held> {
    let mut held = Vec::new();
    for name in needed {
        held.push((*name, read(secrets, name)?));
    }
    for name in more.iter().filter(|name| secrets.folder().join(name).exists()) {
        held.push((*name, read(secrets, name)?));
    }
    Ok(held)
}

fn read(secrets: &Secrets, name: &str) -> anyhow::Result<SecretString> {
    Ok(resolve(&secrets.reference(name))?)
}

/// A JSON string is a YAML string.
fn quoted(text: &SecretString) -> anyhow::Result<String> {
    Ok(serde_json::to_string(text.expose_secret())?)
}

fn manifests(name: &str, parts: &[(&str, &str, Held)]) -> anyhow::Result<String> {
    let mut text = "# Made by `carapulse init --for chart`: each role's own keys and passwords.\n".to_owned();
    for (component, _, held) in parts {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}-{component}\n  labels:\n    \
             app.kubernetes.io/part-of: {name}\n    app.kubernetes.io/component: {component}\ntype: Opaque\nstringData:\n"
        ));
        for (secret, value) in held {
            text.push_str(&format!("  {secret}: {}\n", quoted(value)?));
        }
    }
    Ok(text)
}

fn values(parts: &[(&str, &str, Held)]) -> anyhow::Result<String> {
    let mut text = "# Made by `carapulse init --for chart`: values with which the release makes each role's Secret itself.\n\
        secrets:\n  create: true\n"
        .to_owned();
    for (_, key, held) in parts {
        text.push_str(&format!("  {key}:\n"));
        for (secret, value) in held {
            text.push_str(&format!("    {secret}: {}\n", quoted(value)?));
        }
    }
    Ok(text)
}

/// The password is letters and digits only, as `init` made it.
fn owner_sql(database: &Address, password: &SecretString) -> String {
    let owner = DbRole::Owner.name();
    format!(
        "-- Made by `carapulse init --for chart`: for psql, as an administrator of the server.\n\
         -- The owner migrates; it makes the roles under which the parts of Carapulse log in.\n\
         CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{}';\nCREATE DATABASE \"{}\" OWNER {owner} ENCODING 'UTF8' TEMPLATE template0;\n",
        password.expose_secret(),
        database.database().replace('"', "\"\"")
    )
}

/// Replaces a file as a whole, readable by its owner only.
fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || path.display().to_string();
    let is_new = match fs::read(path) {
        Ok(before) if before == text.as_bytes() => return Ok(()),
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(context),
    };
    let half = path.with_extension("half");
    let mut open = fs::File::options();
    let mut file = open
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&half)
        .with_context(context)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.sync_all().with_context(context)?;
    fs::rename(&half, path).with_context(context)?;
    outln!("{} {}", if is_new { "made" } else { "updated" }, path.display());
    Ok(())
}

/// What Kubernetes takes as the beginning of a name.
fn parse_name(text: &str) -> Result<String, String> {
    let sound = !text.is_empty()
        && text.len() <= 40
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-');
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}`: expected small letters, digits and -, at most 40"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::roles::ServeRole;

    fn made(more: &[(&str, &str)]) -> (tempfile::TempDir, Vec<Value>, Value) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path().join("secrets"));
        secrets.make_missing().unwrap();
        for (name, text) in more {
            fs::write(secrets.folder().join(name), text).unwrap();
        }
        let installation = Installation {
            database: "postgres://db.example.com:6432/pulse?sslmode=require"
                .parse()
                .unwrap(),
            name: "pulse".to_owned(),
        };
        write(folder.path(), &secrets, &installation).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join("chart").join(name)).unwrap();
        let manifests = serde_saphyr::from_multiple(&read("secrets.yaml")).unwrap();
        let values = serde_saphyr::from_str(&read("values-secrets.yaml")).unwrap();
        (folder, manifests, values)
    }

    fn names(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    /// The chart's own table says what each role's configuration refers to.
    #[test]
    fn each_secret_holds_what_the_chart_mounts_and_no_other_role_s_keys() {
        let (_folder, manifests, values) = made(&[]);
        let table: Value = serde_saphyr::from_str(include_str!("../../../chart/files/roles.yaml")).unwrap();
        for (role, row) in table["roles"].as_object().unwrap() {
            let key = row["key"].as_str().unwrap();
            let Some(secret) = manifests
                .iter()
                .find(|it| it["metadata"]["name"] == format!("pulse-{role}"))
            else {
                assert_eq!(role, "agent", "its secrets are those of other services");
                continue;
            };
            let mut expected: BTreeSet<String> = row["logins"]
                .as_object()
                .unwrap()
                .values()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect();
            let settings = row["settings"].to_string();
            expected.extend(
                settings
                    .split("file:secrets/")
                    .skip(1)
                    .map(|rest| rest.split('"').next().unwrap().to_owned()),
            );
            if role == "tool-router" {
                // Of the sandbox, which the template names.
                expected.extend(["sealing_key.pub", "sandbox_key.pub"].map(str::to_owned));
            }
            assert_eq!(names(&secret["stringData"]), expected, "{role}");
            assert_eq!(secret["stringData"], values["secrets"][key], "{role}");
        }
        let migration = manifests
            .iter()
            .find(|it| it["metadata"]["name"] == "pulse-migration")
            .unwrap();
        let dsn = migration["stringData"]["postgres-dsn"].as_str().unwrap();
        assert!(
            dsn.starts_with("postgres://carapulse_owner:")
                && dsn.ends_with("@db.example.com:6432/pulse?sslmode=require"),
            "{dsn}"
        );
        assert_eq!(migration["stringData"].as_object().unwrap().len(), 5);
    }

    #[test]
    fn every_secret_that_a_role_needs_is_in_its_part() {
        for role in ServeRole::TOGETHER.into_iter().chain([ServeRole::Sandbox]) {
            let (_, _, needed, _) = PARTS
                .iter()
                .find(|(component, ..)| *component == role.name())
                .unwrap();
            for secret in role.needs().secrets {
                assert!(needed.contains(secret), "{}: {secret}", role.name());
            }
        }
    }

    #[test]
    fn secrets_of_others_are_taken_in_and_nothing_can_be_read_by_others() {
        let (folder, manifests, _) = made(&[("slack_signing_secret", "s\n"), ("gateway_token", "t\n")]);
        let agent = manifests
            .iter()
            .find(|it| it["metadata"]["name"] == "pulse-agent")
            .unwrap();
        assert_eq!(
            agent["stringData"],
            serde_json::json!({"gateway_token": "t", "slack_signing_secret": "s"})
        );
        for file in fs::read_dir(folder.path().join("chart")).unwrap() {
            let file = file.unwrap();
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                file.path()
            );
        }
    }

    #[test]
    fn names_are_such_as_kubernetes_takes() {
        assert!(parse_name("carapulse-2").is_ok());
        for wrong in ["", "Pulse", "-a", "a-", "a_b", "0123456789", &"a".repeat(41)] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}
