//! A gateway that listens, with tokens to talk to it.

use std::sync::Arc;

use carapulse::{
    domain::{
        Actor, KubernetesPlace, OpCtx, Role, SecretRef, Target, TargetMode, TenantId, WriteGate, canonical,
        plan::Args,
    },
    gateway::{
        self, Gateway, Parts,
        cursor::CursorKey,
        identity::{self, Holder, NewToken},
    },
    intake,
    plan::PriorReader,
    policy::{Bundle, Engine},
    store::{Db, DbRole, ObjectStore},
    tools::catalog::Catalog,
    warrant::statement::ApprovalKeys,
};
use ed25519_dalek::SigningKey;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::TestDb;

/// A running gateway.
pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) pool: Db,
    pub(crate) url: String,
    pub(crate) http: Client,
    pub(crate) stop: CancellationToken,
    _folder: tempfile::TempDir,
}

/// The workloads of the world: three replicas of everything.
struct Reader;

#[async_trait::async_trait]
impl PriorReader for Reader {
    async fn read(
        &self,
        _: carapulse::domain::TargetId,
        _: &str,
        _: &str,
        _: &Args,
    ) -> Result<Value, String> {
        Ok(json!({"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 3}}))
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn system(name: &str) -> OpCtx {
    OpCtx::new(Actor::system("test"), tenant(name), "test")
}

impl World {
    pub(crate) async fn new() -> Self {
        let db = TestDb::new().await;
        let pool = Db::connect(&db.url(DbRole::Gateway), DbRole::Gateway, 16)
            .await
            .unwrap();
        Self::on(db, pool).await
    }

    /// A gateway that works with `pool`.
    pub(crate) async fn on(db: TestDb, pool: Db) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = ObjectStore::folder(folder.path()).unwrap();
        let (intake, batcher) = intake::channel(pool.clone());
        let stop = CancellationToken::new();
        let signing_key = SigningKey::from_bytes(&[5; 32]);
        let gateway = Gateway::new(Parts {
            db: pool.clone(),
            objects,
            intake,
            catalog: Arc::new(Catalog::builtin()),
            engine: Arc::new(Engine::from_bundle(&Bundle::builtin()).unwrap()),
            reads: Arc::new(|_| Box::new(Reader)),
            approval_keys: ApprovalKeys::new([signing_key.verifying_key()]).into(),
            signing_key: signing_key.into(),
            streams: Default::default(),
            gate: WriteGate::default(),
            cursors: CursorKey::derive(b"test"),
            stop: stop.clone(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = async move { axum::serve(listener, gateway::service(gateway)).await.unwrap() };
        let batching = batcher.run(stop.clone());
        tokio::spawn(serving);
        tokio::spawn(batching);
        let http = Client::builder().build().unwrap();
        Self {
            db,
            pool,
            url,
            http,
            stop,
            _folder: folder,
        }
    }

    /// A token of a person of its own in the tenant `default`.
    pub(crate) async fn token(&self, actor: &str, role: Role) -> String {
        self.token_in("default", actor, role).await
    }

    pub(crate) async fn token_in(&self, tenant: &str, actor: &str, role: Role) -> String {
        let holder = match role {
            Role::Source => Holder::Source(actor.to_owned()),
            _ => Holder::Person(actor.to_owned()),
        };
        self.token_of(
            tenant,
            NewToken {
                actor: actor.to_owned(),
                role,
                holder,
                ttl_secs: None,
            },
        )
        .await
        .0
    }

    pub(crate) async fn token_of(&self, tenant: &str, new: NewToken) -> (String, carapulse::domain::TokenId) {
        let owner = Db::connect(&self.db.url(DbRole::Owner), DbRole::Owner, 1)
            .await
            .unwrap();
        let ctx = system(tenant);
        let mut tx = owner.begin(&ctx.tenant).await.unwrap();
        identity::ensure_tenant(&mut tx, &ctx.tenant).await.unwrap();
        let (id, text) = identity::create(&mut tx, &ctx, &new).await.unwrap();
        // Whoever is made in a world with targets has to wait; here they all came long ago.
        sqlx::query("UPDATE person SET barred_until = NULL")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        (text, id)
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(token)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> RequestBuilder {
        self.http
            .post(format!("{}{path}", self.url))
            .bearer_auth(token)
            .json(body)
    }

    /// A target in mode `act`, put in by the owner of the tables.
    pub(crate) async fn target(&self, name: &str) -> Target {
        let target = Target {
            target_id: system("default").id(),
            name: name.to_owned(),
            version: 1,
            context: carapulse::domain::ContextRef {
                tenant_id: "default".to_owned(),
                environment: "staging".to_owned(),
                namespace: "shop".to_owned(),
                ..Default::default()
            },
            mode: TargetMode::Act,
            protected: false,
            git: None,
            prometheus_url: Some("http://prometheus:9090".to_owned()),
            kubernetes: Some(KubernetesPlace {
                read_credential: SecretRef::Env("R".to_owned()),
                write_credential: Some(SecretRef::Env("W".to_owned())),
                context: "shop".to_owned(),
            }),
            services: [("checkout".to_owned(), "deployment/checkout".to_owned())].into(),
        };
        let mut owner = self.db.owner().await;
        sqlx::query(
            "INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc) VALUES ($1, 'default', $2, 1, 'staging', 'act', $3)",
        )
        .bind(target.target_id.uuid())
        .bind(name)
        .bind(canonical::to_bytes(&target).unwrap())
        .execute(&mut owner)
        .await
        .unwrap();
        target
    }

    /// A connection of the tables' owner, in the tenant `default`.
    pub(crate) async fn owner_in_default(&self) -> sqlx::PgConnection {
        let mut owner = self.db.owner().await;
        sqlx::query("SELECT set_config('carapulse.tenant', 'default', false)")
            .execute(&mut owner)
            .await
            .unwrap();
        owner
    }

    /// One number of the database, as its owner sees it in a tenant.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut owner = self.db.owner().await;
        sqlx::query("SELECT set_config('carapulse.tenant', 'default', false)")
            .execute(&mut owner)
            .await
            .unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut owner).await.unwrap()
    }
}

/// Status and body of an answer.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// The code of a problem; checks that it is a whole problem document with this status.
pub(crate) async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], id.as_str());
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    let code = body["type"]
        .as_str()
        .unwrap()
        .strip_prefix("urn:carapulse:problem:")
        .unwrap()
        .to_owned();
    (status, code)
}
