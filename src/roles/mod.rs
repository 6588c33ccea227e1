//! Composition: which roles a process runs, what each needs, and their common life.
//!
//! In: a configuration and the chosen roles. Out: a process that serves until it is told to stop. Always holds: only the
//! chosen roles' settings must be right, and only what they need is opened; a schema that is behind is refused; on
//! SIGTERM readiness goes first, then no new work is taken, then what runs ends or is handed back.
//! Not here: what the roles do. Each role's file says of which parts it is made.

mod agent;
mod clock;
pub mod database;
mod gateway;
mod health;
mod keys;
mod lifecycle;
mod orchestrator;
mod policy;
mod sandbox;
mod secrets;
mod server;
mod telemetry;
mod tool_router;
mod tools;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;

pub use database::Databases;
pub use health::{Health, HealthReport};
pub use keys::trust;
pub use lifecycle::{Lifecycle, OnFailure};
pub use secrets::SecretWatch;
pub use server::{Listening, listen};
pub use telemetry::{Telemetry, install_log};

use crate::{
    config::{self, Config, Section},
    store::DbRole,
};

/// What a process can be. Several roles may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum ServeRole {
    /// The HTTP surface.
    Gateway,
    /// Carries out actions.
    ToolRouter,
    /// Investigations, executions, background work.
    Orchestrator,
    /// The Slack surface.
    Agent,
    /// Runs actions for a tool-router elsewhere.
    Sandbox,
}

/// What a role needs before it can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Sections of the configuration that must be right.
    pub sections: &'static [&'static str],
    /// Database roles under which it logs in; none means that it must not know a database.
    pub databases: &'static [DbRole],
    /// Whether it reads or writes objects.
    pub objects: bool,
    /// Secrets of the data folder, where no setting points elsewhere.
    pub secrets: &'static [&'static str],
}

impl ServeRole {
    /// Every role: what `serve` runs when none is named. `Sandbox` is for a process of its own; with all roles in one,
    /// the tool-router runs actions itself.
    pub const TOGETHER: [Self; 4] = [Self::ToolRouter, Self::Gateway, Self::Orchestrator, Self::Agent];

    /// Its name on the command line and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::ToolRouter => "tool-router",
            Self::Orchestrator => "orchestrator",
            Self::Agent => "agent",
            Self::Sandbox => "sandbox",
        }
    }

    /// The table of needs.
    #[must_use]
    pub const fn needs(self) -> Needs {
        match self {
            Self::Gateway => Needs {
                sections: &["log", "database", "objects", "gateway", "tool_router", "policy"],
                databases: &[DbRole::Gateway],
                objects: true,
                secrets: &["approval_key", "router_token"],
            },
            Self::ToolRouter => Needs {
                sections: &["log", "database", "objects", "tool_router", "policy"],
                databases: &[DbRole::Router],
                objects: true,
                secrets: &["approval_key.pub", "job_key", "router_token"],
            },
            Self::Orchestrator => Needs {
                sections: &[
                    "log",
                    "database",
                    "objects",
                    "orchestrator",
                    "tool_router",
                    "notify",
                    "brake",
                    "policy",
                ],
                databases: &[DbRole::Orchestrator, DbRole::Sequencer],
                objects: true,
                secrets: &["checkpoint_key", "router_token"],
            },
            Self::Agent => Needs {
                sections: &["log", "agent"],
                databases: &[],
                objects: false,
                secrets: &[],
            },
            Self::Sandbox => Needs {
                sections: &["log", "sandbox"],
                databases: &[],
                objects: false,
                secrets: &["sealing_key", "sandbox_key", "job_key.pub"],
            },
        }
    }

    /// Checks the sections that it needs.
    ///
    /// # Errors
    /// The first wrong one's.
    pub fn check(self, config: &Config) -> Result<(), config::Error> {
        self.needs()
            .sections
            .iter()
            .try_for_each(|section| check_section(config, section))
    }

    /// Where it answers `/healthz` from its own machine: on each of its listeners.
    ///
    /// # Errors
    /// When its section is wrong.
    pub fn health_urls(self, config: &Config) -> Result<Vec<String>, config::Error> {
        let addresses = match self {
            Self::Gateway => {
                let gateway: config::Gateway = config.get()?;
                [gateway.http_addr]
                    .into_iter()
                    .chain(gateway.canvas_addr)
                    .collect()
            }
            Self::ToolRouter => vec![config.get::<config::ToolRouter>()?.http_addr],
            Self::Orchestrator => vec![config.get::<config::Orchestrator>()?.health_addr],
            Self::Agent => vec![config.get::<config::Agent>()?.http_addr],
            Self::Sandbox => vec![config.get::<config::Sandbox>()?.http_addr],
        };
        let url = |address: config::ListenAddr| format!("{}/healthz", address.local_url());
        Ok(addresses.into_iter().map(url).collect())
    }
}

/// What the roles of one process share.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The roles that run in this process.
    pub roles: Arc<[ServeRole]>,
    /// Secrets that are read anew.
    pub secrets: SecretWatch,
    /// Pools, a role a pool.
    pub databases: Databases,
    /// Spawns tasks; says when to stop.
    pub lifecycle: Lifecycle,
    /// Renders metrics.
    pub telemetry: Telemetry,
}

/// Runs the roles until the process is told to stop, or a task that it cannot do without has failed.
///
/// # Errors
/// Wrong settings, a database that cannot be reached or is behind, an address in use, a failed task.
pub async fn serve(config: Config, roles: &[ServeRole]) -> anyhow::Result<()> {
    for role in roles {
        role.check(&config)
            .with_context(|| format!("role {}", role.name()))?;
    }
    let telemetry = Telemetry::install(&config.get()?)?;
    let lifecycle = Lifecycle::new();
    lifecycle.watch_signals()?;
    let config = Arc::new(config);
    let mut database = database::Source::open(&config, roles, &lifecycle).await?;
    let secrets = SecretWatch::default();
    let parts = Parts {
        databases: database.pools(&config, &secrets),
        secrets,
        config,
        roles: roles.into(),
        lifecycle: lifecycle.clone(),
        telemetry,
    };
    let started = start_all(&parts).await;
    if let Err(error) = &started {
        lifecycle.stop(&format!("{error:#}"));
    } else {
        tracing::info!(roles = %names(roles), "ready");
    }
    let ended = lifecycle.until_ended(DRAIN_WITHIN).await;
    parts.databases.close().await;
    database.close().await?;
    started?;
    ended
}

/// How long running work may take to end after a stop was asked for.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);

async fn start_all(parts: &Parts) -> anyhow::Result<()> {
    telemetry::spawn_upkeep(parts);
    parts.secrets.spawn(&parts.lifecycle);
    for role in parts.roles.iter() {
        let started = match role {
            ServeRole::Gateway => gateway::start(parts).await,
            ServeRole::ToolRouter => tool_router::start(parts).await,
            ServeRole::Orchestrator => orchestrator::start(parts).await,
            ServeRole::Agent => agent::start(parts).await,
            ServeRole::Sandbox => sandbox::start(parts).await,
        };
        let listening = started.with_context(|| format!("role {}", role.name()))?;
        tracing::info!(role = role.name(), address = %listening.address, "listening");
    }
    Ok(())
}

fn check_section(config: &Config, name: &str) -> Result<(), config::Error> {
    fn check<T: Section>(config: &Config) -> Result<(), config::Error> {
        config.get::<T>().map(drop)
    }
    match name {
        config::Log::NAME => check::<config::Log>(config),
        config::Database::NAME => check::<config::Database>(config),
        config::Objects::NAME => check::<config::Objects>(config),
        config::Gateway::NAME => check::<config::Gateway>(config),
        config::ToolRouter::NAME => check::<config::ToolRouter>(config),
        config::Orchestrator::NAME => check::<config::Orchestrator>(config),
        config::Agent::NAME => check::<config::Agent>(config),
        config::Sandbox::NAME => check::<config::Sandbox>(config),
        config::Notify::NAME => check::<config::Notify>(config),
        config::Brake::NAME => check::<config::Brake>(config),
        config::Policy::NAME => check::<config::Policy>(config),
        other => Err(config.key_error(other, "no such section")),
    }
}

fn names(roles: &[ServeRole]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const ALL: [ServeRole; 5] = [
        ServeRole::Gateway,
        ServeRole::ToolRouter,
        ServeRole::Orchestrator,
        ServeRole::Agent,
        ServeRole::Sandbox,
    ];

    #[test]
    fn every_needed_section_exists_and_its_defaults_are_right() {
        let config = Config::load(&Sources::default()).unwrap();
        for role in ALL {
            role.check(&config).unwrap();
            let urls = role.health_urls(&config).unwrap();
            assert!(
                urls.len() == 1 && urls[0].starts_with("http://127.0.0.1:"),
                "{urls:?}"
            );
        }
    }

    #[test]
    fn the_gateways_second_listener_is_asked_too_and_has_its_own_port() {
        let with = |canvas: &str| {
            let sources = Sources {
                set: vec![format!("gateway.canvas_addr={canvas}")],
                ..Sources::default()
            };
            Config::load(&sources).unwrap()
        };
        let urls = ServeRole::Gateway.health_urls(&with(":8082")).unwrap();
        assert_eq!(urls[1], "http://127.0.0.1:8082/healthz");
        let error = ServeRole::Gateway.check(&with(":8080")).unwrap_err();
        assert!(error.to_string().contains("gateway.canvas_addr"), "{error}");
    }

    #[test]
    fn the_sandbox_and_the_agent_know_no_database() {
        for role in [ServeRole::Sandbox, ServeRole::Agent] {
            assert!(role.needs().databases.is_empty() && !role.needs().sections.contains(&"database"));
        }
    }

    #[test]
    fn only_the_gateway_reads_the_approval_key() {
        let holders: Vec<_> = ALL
            .into_iter()
            .filter(|role| role.needs().secrets.contains(&"approval_key"))
            .collect();
        assert_eq!(holders, [ServeRole::Gateway]);
    }

    /// The chart renders each role's configuration and decides how long its pod may take to end, from a table of its own.
    #[test]
    fn the_chart_s_table_of_roles_says_the_same() {
        let table: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../chart/files/roles.yaml")).unwrap();
        assert_eq!(table["drainDeadlineSeconds"], DRAIN_WITHIN.as_secs());
        assert_eq!(table["roles"].as_object().unwrap().len(), ALL.len());
        for role in ALL {
            let (row, needs) = (&table["roles"][role.name()], role.needs());
            assert_eq!(
                row["sections"],
                serde_json::json!(needs.sections),
                "{}",
                role.name()
            );
            let logins = row["logins"].as_object().unwrap();
            let password = |role: &DbRole| format!("db_{}_password", &role.name()["carapulse_".len()..]);
            let expected: Vec<String> = needs.databases.iter().map(password).collect();
            assert!(logins.values().eq(&expected), "{}: {logins:?}", role.name());
            let settings = row["settings"].to_string();
            for secret in needs.secrets {
                let reference = format!("\"file:secrets/{secret}\"");
                assert!(settings.contains(&reference), "{}: {secret}", role.name());
            }
        }
    }
}
