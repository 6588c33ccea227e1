//! A database for a test: its own, migrated, gone when the server is.
//!
//! One server a run: `CARAPULSE_TEST_DATABASE_URL` (a superuser's or a CREATEROLE and CREATEDB user's) or our own, kept by
//! `carapulse postgres run` for as long as this process holds its standard input. One migrated template a schema; each
//! test copies it, which takes some tens of milliseconds and lets tests run side by side.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use carapulse::store::{
    Address, Db, DbRole,
    migrate::{Migrator, Options, builtin},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

/// A database of one test.
pub(crate) struct TestDb {
    owner: Address,
}

impl TestDb {
    /// A new, migrated database.
    pub(crate) async fn new() -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE.get_or_init(make_template).await;
        Self::create(Some(template)).await
    }

    /// A new database without a schema.
    pub(crate) async fn empty() -> Self {
        Self::create(None).await
    }

    /// A pool under `role`.
    pub(crate) async fn as_role(&self, role: DbRole) -> Db {
        Db::connect(&self.url(role), role, 5)
            .await
            .expect("the database takes us")
    }

    /// The address for `role`, password included.
    pub(crate) fn url(&self, role: DbRole) -> String {
        self.address(role).expose().to_owned()
    }

    /// As [`TestDb::url`], parsed.
    pub(crate) fn address(&self, role: DbRole) -> Address {
        if role == DbRole::Owner || self.owner.has_password() {
            // A user with a password takes the role on after logging in.
            return self.owner.clone();
        }
        self.owner.with_user(role.name(), None)
    }

    /// Moves this database's `db_now()` forward.
    pub(crate) async fn advance(&self, by: Duration) {
        let mut owner = self.owner().await;
        sqlx::query(
            "UPDATE installation SET clock_offset = clock_offset + $1::bigint * interval '1 millisecond'",
        )
        .bind(i64::try_from(by.as_millis()).unwrap())
        .execute(&mut owner)
        .await
        .unwrap();
    }

    /// A connection as the owner of the tables, on the rows of tenant `default`: row-level security binds owners, too.
    pub(crate) async fn owner(&self) -> PgConnection {
        let mut owner = PgConnection::connect(self.owner.expose()).await.unwrap();
        sqlx::query("SELECT set_config('carapulse.tenant', 'default', false)")
            .execute(&mut owner)
            .await
            .unwrap();
        owner
    }

    /// A connection that row-level security and triggers do not bind: what nobody may do, somebody with the machine can.
    pub(crate) async fn superuser(&self) -> PgConnection {
        let mut superuser = PgConnection::connect(as_superuser(&self.owner).expose())
            .await
            .unwrap();
        sqlx::query("SELECT set_config('carapulse.tenant', 'default', false)")
            .execute(&mut superuser)
            .await
            .unwrap();
        superuser
    }

    /// A copy of the database as it is now; whoever is connected to it is thrown out.
    pub(crate) async fn back_up(&self) -> String {
        let copy = format!("b_{}", uuid::Uuid::new_v4().simple());
        let name = self.name();
        let mut admin = PgConnection::connect(server().expose()).await.unwrap();
        // Clients only: the server's own workers leave by themselves.
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'",
        )
        .bind(&name)
        .execute(&mut admin)
        .await
        .unwrap();
        let statement = format!("CREATE DATABASE {copy} TEMPLATE {name}");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await
            .unwrap();
        copy
    }

    /// Puts a copy in the database's place.
    pub(crate) async fn restore(&self, copy: &str) {
        let name = self.name();
        // With FORCE the server's own workers in the database are thrown out, too: only a superuser may.
        let mut admin = PgConnection::connect(as_superuser(server()).expose())
            .await
            .unwrap();
        for statement in [
            format!("DROP DATABASE {name} WITH (FORCE)"),
            format!("ALTER DATABASE {copy} RENAME TO {name}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
                .unwrap();
        }
    }

    fn name(&self) -> String {
        let url = url::Url::parse(self.owner.expose()).unwrap();
        url.path().trim_start_matches('/').to_owned()
    }

    async fn create(template: Option<&str>) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(server().expose()).await.unwrap();
        let statement = format!(
            "CREATE DATABASE {name} TEMPLATE {}",
            template.unwrap_or("template0")
        );
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await
            .unwrap();
        Self {
            owner: server().with_database(&name),
        }
    }
}

/// The same place as the superuser of our own server; a server that was given comes with a user who may do all.
fn as_superuser(address: &Address) -> Address {
    if std::env::var_os("CARAPULSE_TEST_DATABASE_URL").is_some() {
        address.clone()
    } else {
        address.with_user("postgres", None)
    }
}

/// The address of the server's owner; starts the server when it is first asked for.
fn server() -> &'static Address {
    static SERVER: OnceLock<(Address, Option<Child>)> = OnceLock::new();
    &SERVER
        .get_or_init(|| match std::env::var("CARAPULSE_TEST_DATABASE_URL") {
            Ok(url) => (
                url.parse().expect("CARAPULSE_TEST_DATABASE_URL is an address"),
                None,
            ),
            Err(_) => start(),
        })
        .0
}

fn start() -> (Address, Option<Child>) {
    // The child is kept with its standard input open: when this process ends, the input does, and then the server.
    let mut child = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args(["postgres", "run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("carapulse starts");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("DATABASE_URL=").map(str::to_owned))
        .expect("`carapulse postgres run` names its address");
    (url.parse().unwrap(), Some(child))
}

/// A migrated database under a name that says which migrations; processes that start together make it once.
async fn make_template() -> String {
    let mut hasher = DefaultHasher::new();
    for source in builtin() {
        (source.name, source.up).hash(&mut hasher);
    }
    let name = format!("template_{:016x}", hasher.finish());
    let mut admin = PgConnection::connect(server().expose()).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7461)")
        .execute(&mut admin)
        .await
        .unwrap();
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !exists {
        // Under another name until it is whole: a run that is killed half-way leaves no template.
        let making = format!("{name}_making");
        for statement in [
            format!("DROP DATABASE IF EXISTS {making}"),
            format!("CREATE DATABASE {making} TEMPLATE template0"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
                .unwrap();
        }
        let mut migrator = Migrator::connect(&server().with_database(&making), Options::default())
            .await
            .unwrap();
        migrator.up().await.unwrap();
        migrator.close().await.unwrap();
        let rename = format!("ALTER DATABASE {making} RENAME TO {name}");
        sqlx::raw_sql(AssertSqlSafe(rename))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    admin.close().await.unwrap();
    name
}
