//! A pool of connections under one database role.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Error, Tx};
use crate::domain::TenantId;

/// The roles of the database. Row-level security and grants tell them apart; only `Owner` may change the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DbRole {
    /// Owns the tables; migrates. Serves nothing.
    Owner,
    /// The HTTP surface; alone inserts approval grants.
    Gateway,
    /// Investigations and executions.
    Orchestrator,
    /// The tool-router: claims attempts and records their results.
    Router,
    /// Orders the audit log.
    Sequencer,
}

impl DbRole {
    /// The roles that serve; `Owner` is not one of them.
    pub const SERVING: [Self; 4] = [Self::Gateway, Self::Orchestrator, Self::Router, Self::Sequencer];

    /// The role's name in Postgres.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "carapulse_owner",
            Self::Gateway => "carapulse_gateway",
            Self::Orchestrator => "carapulse_orchestrator",
            Self::Router => "carapulse_router",
            Self::Sequencer => "carapulse_sequencer",
        }
    }
}

/// A connection address: `postgres://[user[:password]@]host[:port]/database[?host=/socket/folder]`. Its `Debug` and
/// `Display` forms hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(url::Url);

/// The text is not a connection address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a Postgres address: expected `postgres://[user[:password]@]host[:port]/database`")]
pub struct AddressError;

impl Address {
    /// The address of `database` on a server that listens on a unix socket in `folder`, for `role`.
    #[must_use]
    pub fn socket(folder: &std::path::Path, database: &str, role: DbRole) -> Self {
        let mut url = url::Url::parse("postgres://localhost/").expect("a constant that parses");
        url.set_path(database);
        url.query_pairs_mut()
            .append_pair("host", &folder.to_string_lossy());
        let address = Self(url);
        address.with_user(role.name(), None)
    }

    /// The same place as another user.
    #[must_use]
    pub fn with_user(&self, user: &str, password: Option<&str>) -> Self {
        let mut url = self.0.clone();
        // Both fail only for addresses without a host part, which `from_str` does not let in.
        let _ = url.set_username(user);
        let _ = url.set_password(password);
        Self(url)
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(database);
        Self(url)
    }

    /// The database named in it, as it is written there.
    #[must_use]
    pub fn database(&self) -> &str {
        self.0.path().trim_start_matches('/')
    }

    /// The user named in it, if any.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        Some(self.0.username()).filter(|user| !user.is_empty())
    }

    /// Whether it carries a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.password().is_some()
    }

    /// The whole text, password included: for a connection or a child's environment, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Connection options for `role`. An address without a user logs in as the role; one that names another user (one
    /// login for all, as many platforms hand out) takes the role on with `SET ROLE`, which that user must be allowed to.
    pub(super) fn options(&self, role: DbRole) -> Result<PgConnectOptions, Error> {
        let options = PgConnectOptions::from_str(self.expose()).map_err(Error::from)?;
        let options = match self.user() {
            None => options.username(role.name()),
            Some(user) if user == role.name() || role == DbRole::Owner => options,
            Some(_) => options.options([("role", role.name())]),
        };
        Ok(options
            .application_name(&format!(
                "carapulse {}",
                role.name().trim_start_matches("carapulse_")
            ))
            .log_slow_statements(log_level(), Duration::from_millis(500)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // `postgres:///db?host=/folder` has no host part; the url crate cannot set a user on it.
        let text = match text.split_once(":///") {
            Some((scheme, rest)) => Cow::Owned(format!("{scheme}://localhost/{rest}")),
            None => Cow::Borrowed(text),
        };
        let url = url::Url::parse(&text).map_err(|_| AddressError)?;
        let named = matches!(url.scheme(), "postgres" | "postgresql") && url.has_host();
        named.then_some(Self(url)).ok_or(AddressError)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if self.has_password() {
            let _ = shown.set_password(Some("***"));
        }
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pool under one role. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    role: DbRole,
}

impl Db {
    /// Connects and proves it with one round trip. `url` as in [`Address`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server does not answer within 10 s; [`Error::Database`] when it refuses us.
    pub async fn connect(url: &str, role: DbRole, max_connections: u32) -> Result<Self, Error> {
        let address: Address = url
            .parse()
            .map_err(|error: AddressError| Error::Unavailable(error.to_string()))?;
        Self::open(&address, role, max_connections).await
    }

    /// As [`Db::connect`], for a parsed address.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn open(address: &Address, role: DbRole, max_connections: u32) -> Result<Self, Error> {
        let options = serving_options(address, role)?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(1))
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(Duration::from_secs(1800))
            .connect_with(options)
            .await?;
        Ok(Self { pool, role })
    }

    /// Connections that are opened from now on go to `address`: its password, or its user, was rotated. Open ones stay, as
    /// they do at the server.
    ///
    /// # Errors
    /// When the address makes no connection options.
    pub fn readdress(&self, address: &Address) -> Result<(), Error> {
        self.pool
            .set_connect_options(serving_options(address, self.role)?);
        Ok(())
    }

    /// Opens a transaction on the rows of `tenant`, in one round trip.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin(&self, tenant: &TenantId) -> Result<Tx, Error> {
        // A tenant's name is 1-40 of [a-z0-9-] by construction: nothing in it can end the literal.
        let statement = format!("BEGIN; SET LOCAL carapulse.tenant = '{}'", tenant.as_str());
        let inner = self.begin_with(statement).await?;
        Ok(Tx::new(inner, Some(tenant.clone())))
    }

    /// Opens a transaction that sees no tenant's rows: for jobs, the sequencer, policy bundles, the installation.
    ///
    /// # Errors
    /// As [`Db::begin`].
    pub async fn begin_global(&self) -> Result<Tx, Error> {
        let inner = self.begin_with("BEGIN".to_owned()).await?;
        Ok(Tx::new(inner, None))
    }

    /// The role of this pool.
    #[must_use]
    pub const fn role(&self) -> DbRole {
        self.role
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is none.
    pub async fn ping(&self) -> Result<(), Error> {
        self.begin_with("BEGIN READ ONLY".to_owned())
            .await?
            .rollback()
            .await?;
        Ok(())
    }

    /// How far this machine's clock is ahead of database time, in milliseconds: at least that far, as half of the round
    /// trip is the measurement's error.
    ///
    /// # Errors
    /// As [`Db::ping`].
    pub async fn clock_skew_millis(&self, clock: &dyn crate::domain::Clock) -> Result<i64, Error> {
        let mut connection = self.pool.acquire().await?;
        let before = clock.now();
        let server: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT db_now()")
            .fetch_one(&mut *connection)
            .await?;
        let after = clock.now();
        let (ahead, behind) = (
            (before - server).num_milliseconds(),
            (server - after).num_milliseconds(),
        );
        Ok(if ahead > 0 {
            ahead
        } else if behind > 0 {
            -behind
        } else {
            0
        })
    }

    /// Whether nothing may be written, because the database was restored.
    ///
    /// # Errors
    /// As [`Db::ping`].
    pub async fn is_read_only(&self) -> Result<bool, Error> {
        let mut connection = self.pool.acquire().await?;
        let read_only = sqlx::query_scalar("SELECT read_only FROM installation")
            .fetch_one(&mut *connection)
            .await?;
        Ok(read_only)
    }

    /// Closes all connections, after those in use have been given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A pooled connection may have died unseen, because it is not tested before use: as many more are tried as lie idle,
    /// and then a fresh one. Nothing has been done on them yet.
    async fn begin_with(
        &self,
        statement: String,
    ) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Error> {
        let mut tries = self.pool.num_idle() + 1;
        loop {
            match self.pool.begin_with(AssertSqlSafe(statement.clone())).await {
                Err(sqlx::Error::Io(_)) if tries > 0 => tries -= 1,
                other => return other.map_err(Error::from),
            }
        }
    }
}

/// A statement that hangs must not hold a lease, a lock or a pool slot for ever.
fn serving_options(address: &Address, role: DbRole) -> Result<PgConnectOptions, Error> {
    Ok(address.options(role)?.options([
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ]))
}

fn log_level() -> tracing::log::LevelFilter {
    tracing::log::LevelFilter::Warn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_hides_its_password_and_changes_user_and_database() {
        let address: Address = "postgres://ada:s3cret@db:5432/carapulse".parse().unwrap();
        assert_eq!(address.to_string(), "postgres://ada:***@db:5432/carapulse");
        assert!(!format!("{address:?}").contains("s3cret"));
        let other = address.with_user("carapulse_gateway", None).with_database("x");
        assert_eq!(other.expose(), "postgres://carapulse_gateway@db:5432/x");
    }

    #[test]
    fn a_socket_address_names_its_folder_and_may_leave_out_the_host() {
        let made = Address::socket("/run/c".as_ref(), "carapulse", DbRole::Owner);
        assert_eq!(
            made.expose(),
            "postgres://carapulse_owner@localhost/carapulse?host=%2Frun%2Fc"
        );
        let read: Address = "postgres:///carapulse?host=/run/c".parse().unwrap();
        assert_eq!(read.user(), None);
        assert_eq!(
            read.options(DbRole::Router).unwrap().get_username(),
            "carapulse_router"
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "mysql://x/y", "postgres", "host=x dbname=y"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
