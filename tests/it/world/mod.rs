//! A small world in which a plan can be played end to end: a GitOps repository whose last commit is bad, two persons, a
//! registered target, and the roles as processes of their own that are killed when dropped.

pub(crate) mod process;
pub(crate) mod story;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use carapulse::{
    audit::Trust,
    config::{Config, Sources},
    domain::{Actor, OpCtx, Role, TenantId},
    gateway::identity::{self, Holder, NewToken},
    store::DbRole,
};
use process::Process;
use reqwest::Client;
use serde_json::{Value, json};
use story::Story;
use tokio::time::Instant;

use crate::harness::TestDb;

/// Where an execution ends by itself, or waits for a person.
pub(crate) const ENDS: [&str; 6] = [
    "succeeded",
    "failed",
    "rolled_back",
    "rollback_failed",
    "cancelled",
    "needs_attention",
];

/// Everything that the roles need, and nothing that runs yet.
pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) story: Story,
    pub(crate) config: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) http: Client,
    pub(crate) ada: String,
    pub(crate) grace: String,
    pub(crate) dir: tempfile::TempDir,
}

/// Free ports of the loopback address, one a role.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) gateway: u16,
    pub(crate) router: u16,
    pub(crate) orchestrator: u16,
}

impl World {
    /// A database, a repository, keys, persons with tokens, and one configuration for the three roles.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let story = Story::tell(dir.path());
        let db = TestDb::new().await;
        let ports = Ports {
            gateway: free_port(),
            router: free_port(),
            orchestrator: free_port(),
        };
        let config = write_config(dir.path(), &db, ports);
        load(&config).secrets().make_missing().unwrap();
        let ada = token(&db, "ada", Role::Admin, Holder::Person("Ada".to_owned())).await;
        let grace = token(&db, "grace", Role::Admin, Holder::Person("Grace".to_owned())).await;
        let http = Client::builder().no_proxy().build().unwrap();
        Self {
            db,
            story,
            config,
            ports,
            http,
            ada,
            grace,
            dir,
        }
    }

    /// Starts one role on the common configuration; it may be told where to die.
    pub(crate) async fn start(&self, role: &'static str, crash: Option<&str>) -> Process {
        let port = match role {
            "gateway" => self.ports.gateway,
            "tool-router" => self.ports.router,
            _ => self.ports.orchestrator,
        };
        Process::start(self.dir.path(), role, &self.config, port, crash)
    }

    /// The target of the story, in mode `act`: proposed by one person, confirmed by the other.
    pub(crate) async fn register(&self) {
        self.register_measured(None).await;
    }

    /// The same, measured by a Prometheus at this address.
    pub(crate) async fn register_measured(&self, prometheus: Option<&str>) {
        for mode in ["observe", "act"] {
            let mut target = json!({
                "name": "shop-prod",
                "mode": mode,
                "context": { "environment": "prod", "cluster_id": "story", "namespace": "shop" },
                "git": { "url": self.story.path(), "branch": "main", "path": "deploy" },
                "services": { "checkout": "deployment/checkout" },
            });
            if let Some(url) = prometheus {
                target["prometheus_url"] = url.into();
            }
            let proposed = self.must_post(&self.ada, "/v1/targets", &target).await;
            let change = json!({ "change_id": proposed["pending"]["change_id"] });
            self.must_post(&self.grace, "/v1/targets/shop-prod:confirm", &change)
                .await;
        }
    }

    /// A plan that reverts the bad commit, approved by the second person. With `helps` false its success can never be
    /// measured, so that it is rolled back.
    pub(crate) async fn approved_plan(&self, helps: bool) -> String {
        let never = json!({
            "name": "cannot hold", "tool": "git", "action": "head", "args": {},
            "pointer": "/0/commit", "op": "eq", "value": "0".repeat(40),
        });
        let asked = json!({
            "target": "shop-prod",
            "intent": { "kind": "revert", "commit": self.story.bad_commit },
            "assertions": if helps { json!([]) } else { json!([never]) },
            "verification": { "settle_secs": 1, "window_secs": 2, "interval_secs": 1, "min_samples": 1 },
        });
        let made = self.must_post(&self.ada, "/v1/plans", &asked).await;
        let plan = made["plan_id"].as_str().unwrap().to_owned();
        let decision = json!({"plan_id": plan, "digest": made["plan"]["digest"], "status": "approved"});
        self.must_post(&self.grace, "/v1/approvals", &decision).await;
        plan
    }

    /// Asks for the execution; an error when the gateway dies of it. The same key asks for the same execution.
    pub(crate) async fn execute(&self, plan: &str) -> Result<String, String> {
        let key = format!("execute-{plan}");
        let path = format!("/v1/plans/{plan}:execute");
        let request = self.request(&self.ada, &path).header("idempotency-key", key);
        let answer = request.json(&json!({})).send().await.map_err(|e| e.to_string())?;
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
        match body["execution_id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(format!("{status}: {body}")),
        }
    }

    fn request(&self, token: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.gateway);
        self.http.post(url).bearer_auth(token)
    }

    pub(crate) async fn must_post(&self, token: &str, path: &str, body: &Value) -> Value {
        let answer = self.request(token, path).json(body).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// What the gateway says at `path`; `None` when it does not answer well.
    pub(crate) async fn get(&self, path: &str) -> Option<Vec<u8>> {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.gateway);
        let answer = self.http.get(url).bearer_auth(&self.ada).send().await.ok()?;
        let good = answer.status().is_success();
        let bytes = answer.bytes().await.ok()?.to_vec();
        good.then_some(bytes)
    }

    /// Status of an execution.
    pub(crate) async fn status(&self, execution: &str) -> Option<String> {
        let bytes = self.get(&format!("/v1/executions/{execution}")).await?;
        let body: Value = serde_json::from_slice(&bytes).ok()?;
        Some(body["status"].as_str()?.to_owned())
    }

    /// Waits until the execution has ended or waits for a person.
    pub(crate) async fn until_ended(&self, execution: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let status = self.status(execution).await.unwrap_or_default();
            if ENDS.contains(&status.as_str()) {
                return status;
            }
            assert!(Instant::now() < deadline, "{execution} is still {status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The public keys that evidence is verified with.
    pub(crate) async fn trust(&self) -> Trust {
        let db = self.db.as_role(DbRole::Gateway).await;
        carapulse::roles::trust(&load(&self.config), &db).await.unwrap()
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Reads a configuration file.
pub(crate) fn load(path: &Path) -> Config {
    Config::load(&Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    })
    .unwrap()
}

/// A token as `carapulse token create` makes it.
pub(crate) async fn token(db: &TestDb, actor: &str, role: Role, holder: Holder) -> String {
    let tenant: TenantId = "default".parse().unwrap();
    let ctx = OpCtx::new(Actor::system("test"), tenant.clone(), "test");
    let db = db.as_role(DbRole::Gateway).await;
    let mut tx = db.begin(&tenant).await.unwrap();
    let new = NewToken {
        actor: actor.to_owned(),
        role,
        holder,
        ttl_secs: None,
    };
    let (_, text) = identity::create(&mut tx, &ctx, &new).await.unwrap();
    tx.commit().await.unwrap();
    text
}

fn write_config(dir: &Path, db: &TestDb, ports: Ports) -> PathBuf {
    let secret = |role: DbRole| {
        let path = dir.join(format!("{}.dsn", role.name()));
        std::fs::write(&path, db.url(role)).unwrap();
        format!("file:{}", path.display())
    };
    let text = format!(
        "data_dir = {data:?}\n[log]\nlevel = \"info\"\n\
         [database]\nmax_connections = 4\n\
         [database.gateway]\nurl = {gateway:?}\n[database.orchestrator]\nurl = {orchestrator:?}\n\
         [database.tool_router]\nurl = {router:?}\n[database.sequencer]\nurl = {sequencer:?}\n\
         [gateway]\nhttp_addr = \"127.0.0.1:{}\"\n\
         [tool_router]\nhttp_addr = \"127.0.0.1:{}\"\nbase_url = \"http://127.0.0.1:{}\"\n\
         [orchestrator]\nhealth_addr = \"127.0.0.1:{}\"\nlease_secs = 2\n",
        ports.gateway,
        ports.router,
        ports.router,
        ports.orchestrator,
        data = dir.join("data"),
        gateway = secret(DbRole::Gateway),
        orchestrator = secret(DbRole::Orchestrator),
        router = secret(DbRole::Router),
        sequencer = secret(DbRole::Sequencer),
    );
    let path = dir.join("carapulse.toml");
    std::fs::write(&path, text).unwrap();
    path
}
