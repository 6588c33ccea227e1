//! The configuration of each role where every role runs apart: its own sections, and references to its own secrets.
//!
//! The same for every way of running it; only the places differ.

use crate::roles::ServeRole;

/// The file's name in a role's folder.
pub(super) const FILE: &str = "carapulse.toml";

/// Every role that is served.
pub(super) const SERVED: [ServeRole; 5] = [
    ServeRole::Gateway,
    ServeRole::ToolRouter,
    ServeRole::Orchestrator,
    ServeRole::Agent,
    ServeRole::Sandbox,
];

/// Where the parts find each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// `postgres://host:port/database`.
    pub(super) database: &'a str,
    /// Base URL of the S3-compatible store.
    pub(super) objects: &'a str,
    /// Its bucket.
    pub(super) bucket: &'a str,
    /// Base URLs.
    pub(super) gateway: &'a str,
    pub(super) tool_router: &'a str,
    pub(super) sandbox: &'a str,
    /// `host:port` of the tool-router's egress proxy, as the sandbox sees it.
    pub(super) egress: &'a str,
    /// Base URL of the OPA server that is asked every decision again.
    pub(super) shadow: &'a str,
}

/// The configuration of one role.
pub(super) fn config(role: ServeRole, places: &Places<'_>) -> String {
    let body = match role {
        ServeRole::Gateway => gateway(places),
        ServeRole::ToolRouter => tool_router(places),
        ServeRole::Orchestrator => orchestrator(places),
        ServeRole::Agent => agent(places),
        ServeRole::Sandbox => SANDBOX.to_owned(),
    };
    format!("{}{body}", head(role.name()))
}

/// The configuration of `carapulse migrate up`, which makes the roles' logins.
pub(super) fn migrate(places: &Places<'_>) -> String {
    format!(
        "{}{}{}{}{}{}{}",
        head("migrate"),
        database(places),
        login("owner", "db_owner_password"),
        login("gateway", "db_gateway_password"),
        login("orchestrator", "db_orchestrator_password"),
        login("tool_router", "db_router_password"),
        login("sequencer", "db_sequencer_password"),
    )
}

/// Names of the secrets that a configuration refers to.
pub(super) fn secrets_of(config: &str) -> Vec<&str> {
    let settings = config
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split("file:secrets/").skip(1));
    let mut names: Vec<&str> = settings
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn head(role: &str) -> String {
    format!(
        "# Of {role}, and of nobody else. Made by `carapulse init`, which keeps what is changed here.\n\
         # A secret is a reference: file:PATH (relative to this file) or env:NAME.\n\n\
         data_dir = \"/var/lib/carapulse\"\n\n[log]\nformat = \"json\"\n"
    )
}

fn database(places: &Places<'_>) -> String {
    format!("\n[database]\nurl = \"{}\"\n", places.database)
}

fn login(section: &str, secret: &str) -> String {
    format!("\n[database.{section}]\npassword = \"file:secrets/{secret}\"\n")
}

/// Asked every decision again, after it was made; it decides nothing.
fn shadow(places: &Places<'_>) -> String {
    format!("\n[policy]\nshadow_url = \"{}\"\n", places.shadow)
}

fn objects(places: &Places<'_>) -> String {
    format!(
        "\n[objects.s3]\nendpoint = \"{}\"\nbucket = \"{}\"\n\
         access_key_id = \"file:secrets/objects_key_id\"\nsecret_access_key = \"file:secrets/objects_secret_key\"\n",
        places.objects, places.bucket
    )
}

fn gateway(places: &Places<'_>) -> String {
    format!(
        "{}{}{}{}\n[gateway]\nhttp_addr = \":8080\"\ncanvas_addr = \":8082\"\napproval_key = \"file:secrets/approval_key\"\n\
         \n[tool_router]\nbase_url = \"{}\"\nauth_token = \"file:secrets/router_token\"\n\
         approval_public_keys = [\"file:secrets/approval_key.pub\"]\n",
        database(places),
        login("gateway", "db_gateway_password"),
        objects(places),
        shadow(places),
        places.tool_router
    )
}

fn tool_router(places: &Places<'_>) -> String {
    format!(
        "{}{}{}{}\n[tool_router]\nhttp_addr = \":8081\"\nauth_token = \"file:secrets/router_token\"\n\
         approval_public_keys = [\"file:secrets/approval_key.pub\"]\njob_key = \"file:secrets/job_key\"\n\
         \n[tool_router.sandbox]\nkind = \"remote\"\nurl = \"{}\"\npublic_key = \"file:secrets/sealing_key.pub\"\n\
         signing_public_key = \"file:secrets/sandbox_key.pub\"\n\
         # The only way from the sandbox to managed systems.\n\
         egress = {{ listen_addr = \":8083\", advertised = \"{}\" }}\n",
        database(places),
        login("tool_router", "db_router_password"),
        objects(places),
        shadow(places),
        places.sandbox,
        places.egress
    )
}

fn orchestrator(places: &Places<'_>) -> String {
    format!(
        "{}{}{}{}{}\n[orchestrator]\nhealth_addr = \":8085\"\ncheckpoint_key = \"file:secrets/checkpoint_key\"\n\
         \n[tool_router]\nbase_url = \"{}\"\nauth_token = \"file:secrets/router_token\"\n\
         # For `carapulse audit trust`.\napproval_public_keys = [\"file:secrets/approval_key.pub\"]\n\
         \n# Without a receiver nobody is called when an execution needs attention.\n[notify]\n\
         # webhook_url = \"file:secrets/notify_webhook_url\"\n\
         # pagerduty_routing_key = \"file:secrets/pagerduty_routing_key\"\n",
        database(places),
        login("orchestrator", "db_orchestrator_password"),
        login("sequencer", "db_sequencer_password"),
        objects(places),
        shadow(places),
        places.tool_router
    )
}

fn agent(places: &Places<'_>) -> String {
    format!(
        "\n[agent]\nhttp_addr = \":8090\"\ngateway_url = \"{}\"\n\
         # Slack's commands are served when both are there: a token of a service (`carapulse token create --service`), and\n\
         # the signing secret of the Slack app.\n\
         # gateway_token = \"file:secrets/gateway_token\"\n\
         # slack_signing_secret = \"file:secrets/slack_signing_secret\"\n",
        places.gateway
    )
}

/// Containers are given no namespaces of their own making: profile `pod` has Landlock, seccomp and limits, and refuses a
/// job when the kernel lacks one of them.
const SANDBOX: &str = r#"
[sandbox]
http_addr = ":8091"
profile = "pod"
tool_dirs = ["/opt/carapulse/tools/bin"]
router_public_key = "file:secrets/job_key.pub"
sealing_key = "file:secrets/sealing_key"
signing_key = "file:secrets/sandbox_key"
"#;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    pub(in crate::cli::init) const PLACES: Places<'static> = Places {
        database: "postgres://db:5432/carapulse",
        objects: "http://objects:9000",
        bucket: "carapulse",
        gateway: "http://gateway:8080",
        tool_router: "http://tool-router:8081",
        sandbox: "http://sandbox:8091",
        egress: "tool-router:8083",
        shadow: "http://opa:8181",
    };

    #[test]
    fn each_role_has_its_own_sections_and_no_other() {
        for role in SERVED {
            let text = config(role, &PLACES);
            let table: toml::Table = text.parse().unwrap();
            for section in table.keys().filter(|name| *name != "data_dir") {
                assert!(
                    role.needs().sections.contains(&section.as_str()),
                    "{}: {section}",
                    role.name()
                );
            }
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(FILE);
            std::fs::write(&file, text).unwrap();
            let sources = Sources {
                file: Some(file),
                ..Sources::default()
            };
            role.check(&Config::load(&sources).unwrap()).unwrap();
        }
    }

    #[test]
    fn each_role_refers_to_the_secrets_that_it_needs_and_one_password_a_database_role() {
        for role in SERVED {
            let text = config(role, &PLACES);
            let held = secrets_of(&text);
            for name in role.needs().secrets {
                assert!(held.contains(name), "{}: {name} of {held:?}", role.name());
            }
            let passwords = held.iter().filter(|name| name.starts_with("db_")).count();
            assert_eq!(
                passwords,
                role.needs().databases.len(),
                "{}: {held:?}",
                role.name()
            );
            assert_eq!(
                held.contains(&"objects_secret_key"),
                role.needs().objects,
                "{}",
                role.name()
            );
        }
        let holders = |secret: &str| {
            let holds = |role: &ServeRole| secrets_of(&config(*role, &PLACES)).contains(&secret);
            SERVED.into_iter().filter(holds).collect::<Vec<_>>()
        };
        assert_eq!(holders("approval_key"), [ServeRole::Gateway]);
        assert_eq!(holders("checkpoint_key"), [ServeRole::Orchestrator]);
        assert_eq!(holders("job_key"), [ServeRole::ToolRouter]);
        assert_eq!(holders("sealing_key"), [ServeRole::Sandbox]);
        assert_eq!(holders("db_owner_password"), []);
        assert_eq!(secrets_of(&migrate(&PLACES)).len(), 5);
    }

    #[test]
    fn what_is_commented_out_is_no_reference() {
        assert_eq!(
            secrets_of("# a = \"file:secrets/x\"\nb = [\"file:secrets/y\", \"file:secrets/y\"]\n"),
            ["y"]
        );
        assert!(secrets_of("a = \"file:secrets/../../etc/passwd\"").is_empty());
    }
}
