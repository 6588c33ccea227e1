//! `[database]`

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{Section, resolve};
use crate::{
    domain::SecretRef,
    store::{Address, DbRole},
};

/// Where state is. Without `url`, carapulse runs its own Postgres in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://host:port/database`, as it is when it holds no password, else a reference to it. The environment's
    /// `DATABASE_URL` is used when this is not set. Without a user in it, each part logs in under its own database role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Connections of one part at most.
    pub max_connections: u32,
    /// The role that migrates.
    pub owner: RoleLogin,
    /// The gateway's own login.
    pub gateway: RoleLogin,
    /// The orchestrator's own login.
    pub orchestrator: RoleLogin,
    /// The tool-router's own login.
    pub tool_router: RoleLogin,
    /// The sequencer's own login.
    pub sequencer: RoleLogin,
}

/// How one part logs in, where it differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoleLogin {
    /// Its own whole address, instead of `database.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its password at `database.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            max_connections: 16,
            owner: RoleLogin::default(),
            gateway: RoleLogin::default(),
            orchestrator: RoleLogin::default(),
            tool_router: RoleLogin::default(),
            sequencer: RoleLogin::default(),
        }
    }
}

impl Section for Database {
    const NAME: &'static str = "database";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.max_connections == 0 {
            return Err(("max_connections", "0: expected at least 1".to_owned()));
        }
        let logins = [
            ("owner.url", &self.owner.url),
            ("gateway.url", &self.gateway.url),
            ("orchestrator.url", &self.orchestrator.url),
            ("tool_router.url", &self.tool_router.url),
            ("sequencer.url", &self.sequencer.url),
        ];
        for (key, url) in logins.into_iter().chain([("url", &self.url)]) {
            if let Some(url) = url {
                plain_or_reference(url).map_err(|problem| (key, problem))?;
            }
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        let Some(Ok(address)) = self.url.as_deref().map(read) else {
            return Vec::new();
        };
        let serving = DbRole::SERVING.iter().map(|&role| self.login(role));
        let apart = serving
            .into_iter()
            .all(|login| login.url.is_some() || login.password.is_some());
        match address.user() {
            Some(user) if !apart => vec![format!(
                "database.url: every part logs in as `{user}`, who may become any role: \
                 give each part a login of its own (database.gateway.password and so on)"
            )],
            _ => Vec::new(),
        }
    }
}

impl Database {
    /// The settings of one role's login.
    #[must_use]
    pub const fn login(&self, role: DbRole) -> &RoleLogin {
        match role {
            DbRole::Owner => &self.owner,
            DbRole::Gateway => &self.gateway,
            DbRole::Orchestrator => &self.orchestrator,
            DbRole::Router => &self.tool_router,
            DbRole::Sequencer => &self.sequencer,
        }
    }

    /// The address for `role`; none when no database is configured, which means our own.
    ///
    /// # Errors
    /// `(key, problem)` when a reference leads nowhere or to something that is no address.
    pub fn address(&self, role: DbRole) -> Result<Option<Address>, (String, String)> {
        let login = self.login(role);
        let section = match role {
            DbRole::Owner => "owner",
            DbRole::Gateway => "gateway",
            DbRole::Orchestrator => "orchestrator",
            DbRole::Router => "tool_router",
            DbRole::Sequencer => "sequencer",
        };
        let (key, url) = match (&login.url, &self.url) {
            (Some(url), _) => (format!("{section}.url"), url),
            (None, Some(url)) => ("url".to_owned(), url),
            (None, None) => return Ok(None),
        };
        let address = read(url).map_err(|problem| (key, problem))?;
        let Some(password) = &login.password else {
            return Ok(Some(address));
        };
        let password =
            resolve(password).map_err(|error| (format!("{section}.password"), error.to_string()))?;
        Ok(Some(
            address.with_user(role.name(), Some(password.expose_secret())),
        ))
    }
}

fn read(text: &str) -> Result<Address, String> {
    if let Ok(reference) = text.parse::<SecretRef>() {
        let value = resolve(&reference).map_err(|error| error.to_string())?;
        return value
            .expose_secret()
            .parse()
            .map_err(|error| format!("what {text} holds is {error}"));
    }
    text.parse()
        .map_err(|error: crate::store::AddressError| error.to_string())
}

/// A password in the file would be printed with it.
fn plain_or_reference(text: &str) -> Result<(), String> {
    if text.parse::<SecretRef>().is_ok() {
        return Ok(());
    }
    let address: Address = text
        .parse()
        .map_err(|_| "expected postgres://host:port/database, env:NAME or file:PATH".to_owned())?;
    if address.has_password() {
        return Err("the address holds a password: put it where env:NAME or file:PATH leads".to_owned());
    }
    Ok(())
}
