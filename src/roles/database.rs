//! The database of a process: the configured one, or our own.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use tokio::sync::Mutex;

use super::{Lifecycle, OnFailure, SecretWatch, ServeRole};
use crate::{
    config::{Config, Database},
    store::{
        Address, Db, DbRole,
        embedded::{Server, Settings},
        migrate::{self, Migrator, Options, SchemaState},
    },
};

/// Where the rows are.
#[derive(Debug)]
pub(super) enum Source {
    /// A server that somebody else runs.
    Configured,
    /// Our own; its owner's address is kept, as the server itself lies with the task that watches it.
    Own {
        server: Arc<Mutex<Option<Server>>>,
        address: Address,
    },
    /// None of the roles wants one.
    None,
}

impl Source {
    /// Starts our own Postgres when a role needs a database and none is configured; it is migrated, and the keys that no
    /// setting names are made. A configured one must have its schema, which a pool checks when it is opened.
    pub(super) async fn open(
        config: &Config,
        roles: &[ServeRole],
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        if roles.iter().all(|role| role.needs().databases.is_empty()) {
            return Ok(Self::None);
        }
        let database: Database = config.get()?;
        if database.url.is_some() || is_wholly_configured(&database, roles) {
            return Ok(Self::Configured);
        }
        let server = Server::start(own_settings(config)).await?;
        let address = server.address(DbRole::Owner);
        migrate_own(&address).await?;
        let made = config.secrets().make_missing()?.len();
        if made > 0 {
            tracing::info!(made, folder = %config.secrets().folder().display(), "made keys and secrets");
        }
        let server = Arc::new(Mutex::new(Some(server)));
        watch(Arc::clone(&server), lifecycle);
        Ok(Self::Own { server, address })
    }

    pub(super) fn pools(&self, config: &Arc<Config>, secrets: &SecretWatch) -> Databases {
        let own = match self {
            Self::Own { address, .. } => Some(address.clone()),
            _ => None,
        };
        Databases {
            config: Arc::clone(config),
            secrets: secrets.clone(),
            own,
            pools: Arc::default(),
        }
    }

    /// Stops our own server, after everything else.
    pub(super) async fn close(&mut self) -> anyhow::Result<()> {
        if let Self::Own { server, .. } = self
            && let Some(server) = server.lock().await.take()
        {
            server.stop().await.context("stopping Postgres")?;
        }
        Ok(())
    }
}

/// Settings of our own server in the data folder.
#[must_use]
pub fn own_settings(config: &Config) -> Settings {
    Settings::lasting(config.data_dir().join("postgres"))
}

/// Our own server, used by a command.
#[derive(Debug)]
pub struct ServerInUse {
    /// Its owner's address.
    pub address: Address,
    /// To be stopped after use; that leaves a server alone which another process owns.
    pub server: Server,
}

/// Our own server for the length of a command: the running one, else one that is started for it.
///
/// # Errors
/// When there is none and none can be started.
pub async fn borrow_own(config: &Config) -> anyhow::Result<ServerInUse> {
    let server = Server::open(own_settings(config)).await?;
    Ok(ServerInUse {
        address: server.address(DbRole::Owner),
        server,
    })
}

/// The database of this installation, for the length of a command.
#[derive(Debug)]
pub struct Borrowed {
    /// Its address under the role that was asked for.
    pub address: Address,
    own: Option<Server>,
}

impl Borrowed {
    /// Stops our own server, if it was started for the command.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn give_back(self) -> anyhow::Result<()> {
        match self.own {
            Some(server) => Ok(server.stop().await?),
            None => Ok(()),
        }
    }
}

/// The configured database, else our own, under `role`; none where neither is.
///
/// # Errors
/// Wrong settings; our own server cannot be started.
pub async fn borrow(config: &Config, role: DbRole) -> anyhow::Result<Option<Borrowed>> {
    if let Some(address) = configured(config, &config.get()?, role)? {
        return Ok(Some(Borrowed { address, own: None }));
    }
    if !own_exists(config) {
        return Ok(None);
    }
    let own = borrow_own(config).await?;
    Ok(Some(Borrowed {
        address: own.address.with_user(role.name(), None),
        own: Some(own.server),
    }))
}

/// What to say where a command finds neither.
#[must_use]
pub fn none_yet(config: &Config) -> String {
    format!(
        "no database is configured, and there is none in {} yet: start `carapulse serve`, which makes one",
        config.data_dir().display()
    )
}

/// Whether our own database has been made.
#[must_use]
pub fn own_exists(config: &Config) -> bool {
    config.data_dir().join("postgres/data/PG_VERSION").exists()
}

/// Brings our own database's schema to this binary's.
async fn migrate_own(address: &Address) -> anyhow::Result<()> {
    let mut migrator = Migrator::connect(address, Options::default()).await?;
    for entry in migrator.up().await? {
        tracing::info!(version = entry.version, name = entry.name, "migrated");
    }
    Ok(migrator.close().await?)
}

/// The pools of a process, each under its own database role, opened when first asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Databases {
    config: Arc<Config>,
    secrets: SecretWatch,
    own: Option<Address>,
    pools: Arc<Mutex<HashMap<DbRole, Db>>>,
}

impl Databases {
    /// The pool of `role`. The first time, the schema is checked: a database that is behind is refused; one that a newer
    /// binary has migrated is accepted.
    ///
    /// # Errors
    /// When it cannot be reached, or is behind.
    pub async fn pool(&self, role: DbRole) -> anyhow::Result<Db> {
        let mut pools = self.pools.lock().await;
        if let Some(db) = pools.get(&role) {
            return Ok(db.clone());
        }
        let database: Database = self.config.get()?;
        let address = match &self.own {
            Some(own) => own.with_user(role.name(), None),
            None => configured(&self.config, &database, role)?.context("no database is configured")?,
        };
        let db = Db::open(&address, role, database.max_connections)
            .await
            .with_context(|| format!("connecting to {address} as {}", role.name()))?;
        refuse_behind(&db).await?;
        if self.own.is_none() {
            self.follow(address, &db);
        }
        pools.insert(role, db.clone());
        Ok(db)
    }

    /// A rotated address or password is used for the connections that are opened after it.
    fn follow(&self, address: Address, db: &Db) {
        let (config, role) = (Arc::clone(&self.config), db.role());
        let read = move || {
            let database: Database = config.get()?;
            configured(&config, &database, role)?.context("no database is configured")
        };
        let db = db.clone();
        let change = move |address: &Address| Ok(db.readdress(address)?);
        self.secrets.follow(login_key(role), address, read, change);
    }

    /// Closes every pool.
    pub(super) async fn close(&self) {
        for (_, db) in self.pools.lock().await.drain() {
            db.close().await;
        }
    }
}

const fn login_key(role: DbRole) -> &'static str {
    match role {
        DbRole::Owner => "database.owner",
        DbRole::Gateway => "database.gateway",
        DbRole::Orchestrator => "database.orchestrator",
        DbRole::Router => "database.tool_router",
        DbRole::Sequencer => "database.sequencer",
    }
}

/// The configured address of a role; an error names the key.
///
/// # Errors
/// When a reference leads nowhere or to something that is no address.
pub fn configured(config: &Config, database: &Database, role: DbRole) -> anyhow::Result<Option<Address>> {
    database
        .address(role)
        .map_err(|(key, problem)| config.key_error(&format!("database.{key}"), problem).into())
}

async fn refuse_behind(db: &Db) -> anyhow::Result<()> {
    match migrate::check(db).await.context("reading the schema's version")? {
        SchemaState::Current(_) => Ok(()),
        SchemaState::Ahead { applied, wanted } => {
            tracing::warn!(applied, wanted, "the schema is newer than this binary");
            Ok(())
        }
        SchemaState::Behind { applied, wanted } => anyhow::bail!(
            "the database's schema is at version {applied} and this binary needs {wanted}: run `carapulse migrate up`"
        ),
    }
}

/// Every role of the process has an address of its own.
fn is_wholly_configured(database: &Database, roles: &[ServeRole]) -> bool {
    let mut needed = roles.iter().flat_map(|role| role.needs().databases);
    needed.all(|&role| database.login(role).url.is_some())
}

/// Our own server is started again when it dies; the pools connect anew by themselves.
fn watch(server: Arc<Mutex<Option<Server>>>, lifecycle: &Lifecycle) {
    lifecycle.spawn("postgres", OnFailure::Restart, move |stop| {
        let server = Arc::clone(&server);
        async move {
            let mut held = server.lock().await;
            let Some(server) = held.as_mut() else {
                return Ok(());
            };
            let Some(how) = stop.run_until_cancelled(server.exited()).await else {
                return Ok(());
            };
            server
                .restart()
                .await
                .with_context(|| format!("Postgres {how}; starting it again"))?;
            Err(anyhow::anyhow!("Postgres {how}; it was started again"))
        }
    });
}
