//! `--for compose`: a folder a service, each mounted into its container as a whole.
//!
//! `DIR/secrets` holds the masters (0700, files 0600). `DIR/services/SERVICE` holds copies of what that service may know.
//! A container runs under a uid of its own, which a 0600 file of yours would keep out: so the copies are readable by
//! all, in a folder (`services`, 0700) that nobody else on this machine can enter. A mount does not pass through the
//! folders above it. The whole folder is mounted, so that a changed secret reaches a running container.

use std::{fs, path::Path};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    files,
    roles::{self, Places},
};
use crate::{
    config::{Secrets, resolve},
    store::DbRole,
};

const PLACES: Places<'static> = Places {
    database: "postgres://postgres:5432/carapulse",
    objects: "http://minio:9000",
    bucket: "carapulse",
    gateway: "http://gateway:8080",
    tool_router: "http://tool-router:8081",
    sandbox: "http://sandbox:8091",
    egress: "tool-router:8083",
    shadow: "http://opa:8181",
};

/// Where the gateway's container finds its database's address: `carapulse token create` needs it there.
const GATEWAY_DSN: &str = "gateway_dsn";

/// Secrets of the servers beside us: `(name, text or none for a new password, what for)`.
const SERVERS: [(&str, Option<&str>, &str); 7] = [
    ("postgres_password", None, "the database server's superuser"),
    ("temporal_db_password", None, "temporal's login to the database"),
    (
        "minio_root_user",
        Some("carapulse-root"),
        "the object store's administrator",
    ),
    ("minio_root_password", None, "the object store's administrator"),
    (
        "objects_key_id",
        Some("carapulse"),
        "the roles' login to the bucket",
    ),
    ("objects_secret_key", None, "the roles' login to the bucket"),
    ("grafana_admin_password", None, "Grafana's administrator"),
];

/// Which of them each server may read.
const SERVICES: [(&str, &[&str]); 5] = [
    (
        "postgres",
        &["postgres_password", "db_owner_password", "temporal_db_password"],
    ),
    ("temporal", &["temporal_db_password"]),
    ("minio", &["minio_root_user", "minio_root_password"]),
    (
        "minio-init",
        &[
            "minio_root_user",
            "minio_root_password",
            "objects_key_id",
            "objects_secret_key",
        ],
    ),
    ("grafana", &["grafana_admin_password"]),
];

/// Makes what is missing below `folder`, and says what comes next.
pub(super) fn write(folder: &Path, secrets: &Secrets) -> anyhow::Result<()> {
    for (name, text, purpose) in SERVERS {
        let text = text.map_or_else(Secrets::new_password, |text| SecretString::from(text.to_owned()));
        if secrets.keep(name, &text)? {
            outln!("made {}: {purpose}", secrets.folder().join(name).display());
        }
    }
    let services = folder.join("services");
    files::folder(&services, 0o700)?;
    for role in roles::SERVED {
        serve(
            &services.join(role.name()),
            &roles::config(role, &PLACES),
            secrets,
        )?;
    }
    serve(&services.join("migrate"), &roles::migrate(&PLACES), secrets)?;
    for (service, names) in SERVICES {
        let own = services.join(service);
        files::folder(&own, 0o755)?;
        copy(secrets, names, &own)?;
    }
    let dsn = gateway_dsn(secrets)?;
    let path = services.join("gateway/secrets").join(GATEWAY_DSN);
    files::follow(&path, dsn.expose_secret().as_bytes())?;
    next(folder);
    Ok(())
}

/// One role's folder: its configuration, and the secrets which that configuration, as it is now, refers to.
fn serve(own: &Path, template: &str, secrets: &Secrets) -> anyhow::Result<()> {
    files::folder(own, 0o755)?;
    files::folder(&own.join("secrets"), 0o755)?;
    let file = own.join(roles::FILE);
    files::keep(&file, template, "its own sections only")?;
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    copy(secrets, &roles::secrets_of(&text), &own.join("secrets"))
}

fn copy(secrets: &Secrets, names: &[&str], to: &Path) -> anyhow::Result<()> {
    for name in names {
        let (master, copy) = (secrets.folder().join(name), to.join(name));
        match fs::read(&master) {
            Ok(bytes) => files::follow(&copy, &bytes)?,
            // Somebody's own, put beside the configuration that names it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && copy.exists() => {}
            Err(error) => return Err(error).with_context(|| master.display().to_string()),
        }
    }
    Ok(())
}

fn gateway_dsn(secrets: &Secrets) -> anyhow::Result<SecretString> {
    let password = resolve(&secrets.reference("db_gateway_password"))?;
    let (scheme, rest) = PLACES
        .database
        .split_once("://")
        .context("an address has a scheme")?;
    let user = DbRole::Gateway.name();
    Ok(SecretString::from(format!(
        "{scheme}://{user}:{}@{rest}\n",
        password.expose_secret()
    )))
}

/// The Compose file is expected one folder up, where the repository has it.
fn next(folder: &Path) {
    let beside = folder
        .parent()
        .map(|above| above.join("compose.yaml"))
        .filter(|file| file.is_file());
    let compose = match &beside {
        Some(file) => format!("docker compose --file {}", file.display()),
        None => "docker compose --file compose/compose.yaml".to_owned(),
    };
    if beside.is_none() || folder.file_name().is_none_or(|name| name != "local") {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        outln!("first: export CARAPULSE_LOCAL={}", folder.display());
    }
    outln!("next: {compose} up --detach --wait");
    outln!("then: {compose} exec gateway carapulse token create --actor ada --role admin --person Ada");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn made() -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path().join("secrets"));
        secrets.make_missing().unwrap();
        write(folder.path(), &secrets).unwrap();
        (folder, secrets)
    }

    #[test]
    fn another_uid_can_read_the_copies_once_mounted_and_nobody_on_this_machine_can_get_to_them() {
        let (folder, secrets) = made();
        assert_eq!(mode(&folder.path().join("services")), 0o700);
        assert_eq!(mode(secrets.folder()), 0o700);
        assert_eq!(mode(&secrets.folder().join("approval_key")), 0o600);
        for service in fs::read_dir(folder.path().join("services")).unwrap() {
            let service = service.unwrap().path();
            assert_eq!(mode(&service), 0o755, "{}", service.display());
            for file in fs::read_dir(&service).unwrap().map(|file| file.unwrap().path()) {
                let expected = if file.is_dir() { 0o755 } else { 0o644 };
                assert_eq!(mode(&file), expected, "{}", file.display());
            }
        }
    }

    #[test]
    fn each_folder_holds_what_its_configuration_names_and_nothing_else() {
        let (folder, _) = made();
        for role in roles::SERVED {
            let own = folder.path().join("services").join(role.name());
            let text = fs::read_to_string(own.join(roles::FILE)).unwrap();
            let mut expected: Vec<_> = roles::secrets_of(&text).into_iter().map(str::to_owned).collect();
            if role.name() == "gateway" {
                expected.push(GATEWAY_DSN.to_owned());
            }
            expected.sort();
            let mut found: Vec<_> = fs::read_dir(own.join("secrets"))
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, expected, "{}", role.name());
        }
    }

    #[test]
    fn again_it_keeps_what_was_changed_and_follows_a_rotated_secret() {
        let (folder, secrets) = made();
        let services = folder.path().join("services");
        let config = services.join("agent").join(roles::FILE);
        fs::write(
            &config,
            "[agent]\nslack_signing_secret = \"file:secrets/slack_signing_secret\"\n",
        )
        .unwrap();
        let missing = write(folder.path(), &secrets).unwrap_err();
        assert!(
            format!("{missing:#}").contains("slack_signing_secret"),
            "{missing:#}"
        );

        fs::write(secrets.folder().join("slack_signing_secret"), "slack's").unwrap();
        fs::write(secrets.folder().join("db_gateway_password"), "rotated").unwrap();
        let key = fs::read(secrets.folder().join("approval_key")).unwrap();
        write(folder.path(), &secrets).unwrap();
        let read = |path: &str| fs::read_to_string(services.join(path)).unwrap();
        assert!(read("agent/carapulse.toml").starts_with("[agent]"));
        assert_eq!(read("agent/secrets/slack_signing_secret"), "slack's");
        assert_eq!(read("gateway/secrets/db_gateway_password"), "rotated");
        assert_eq!(
            read("gateway/secrets/gateway_dsn"),
            "postgres://carapulse_gateway:rotated@postgres:5432/carapulse\n"
        );
        assert_eq!(fs::read(secrets.folder().join("approval_key")).unwrap(), key);
    }
}
