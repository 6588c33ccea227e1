//! Carapulse as an operator would run it: our own Postgres, one process for gateway and tool-router, one for the orchestrator.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use carapulse::{
    config::{Config, Sources},
    store::DbRole,
};
use serde_json::{Value, json};

use crate::{
    api::Api,
    cluster::{CONTEXT, Namespace},
    given,
    harness::TestDb,
};

const CARAPULSE: &str = env!("CARGO_BIN_EXE_carapulse");

/// Everything that one test needs of us. Its processes end when it is dropped.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    db: TestDb,
    config: PathBuf,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    /// Asks for changes, proposes targets.
    pub(crate) ada: Api,
    /// Approves, confirms targets.
    pub(crate) grace: Api,
    /// The webhook source.
    pub(crate) alertmanager: Api,
    processes: Vec<Process>,
}

impl Installation {
    /// Sets everything up and waits until it is ready.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let db = TestDb::new().await;
        let ports = [free_port(), free_port(), free_port()];
        let config = configure(folder.path(), &db, ports);
        let url = format!("http://127.0.0.1:{}", ports[0]);
        #[expect(clippy::disallowed_methods, reason = "the test is a client like any other")]
        let http = reqwest::Client::new();
        let api = |args: &[&str]| Api::new(&http, &url, token(&db, args));
        let ada = api(&["--actor=ada", "--role=admin", "--person=Ada"]);
        let grace = api(&["--actor=grace", "--role=admin", "--person=Grace"]);
        let alertmanager = api(&["--actor=alertmanager", "--role=source", "--source=alertmanager"]);
        let serve = |name: &'static str, roles: &[&str]| {
            let log = folder.path().join(format!("{name}.log"));
            let output = File::create(&log).expect("a log");
            let mut command = Command::new(CARAPULSE);
            command.arg("--config").arg(&config).arg("serve");
            command.args(roles.iter().flat_map(|role| ["--role", role]));
            command
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("a log"))
                .stderr(output);
            Process::start(name, command, log)
        };
        let mut processes = vec![
            serve("gateway-and-router", &["gateway", "tool-router"]),
            serve("orchestrator", &["orchestrator"]),
        ];
        for (process, port) in processes.iter_mut().zip([ports[0], ports[2]]) {
            process
                .ready(&http, &format!("http://127.0.0.1:{port}/readyz"))
                .await;
        }
        Self {
            folder,
            db,
            config,
            url,
            http,
            ada,
            grace,
            alertmanager,
            processes,
        }
    }

    /// A folder of this test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Registers a target in mode `act`, by two persons: first as every target starts, then raised.
    /// `writer` is the role whose credential is used for writes.
    pub(crate) async fn register(&self, namespace: &Namespace, service: &str, writer: Option<&str>) {
        for mode in ["observe", "act"] {
            let target = self.target(namespace, service, writer, mode);
            self.change_target(namespace, &target).await;
        }
    }

    /// A target named after its namespace.
    pub(crate) fn target(
        &self,
        namespace: &Namespace,
        service: &str,
        writer: Option<&str>,
        mode: &str,
    ) -> Value {
        let mut target = json!({
            "name": namespace.name,
            "mode": mode,
            "context": { "environment": "prod", "cluster_id": "e2e", "namespace": namespace.name },
            "kubernetes": {
                "read_credential": namespace.credential("reader", self.folder()),
                "context": CONTEXT,
            },
            "services": { service: format!("deployment/{service}") },
        });
        if let Some(role) = writer {
            target["kubernetes"]["write_credential"] = namespace.credential(role, self.folder()).into();
        }
        target
    }

    /// Proposed by ada, confirmed by grace.
    pub(crate) async fn change_target(&self, namespace: &Namespace, target: &Value) {
        self.ada.post("/v1/targets", target).await;
        let confirm = format!("/v1/targets/{}:confirm", namespace.name);
        self.grace.post(&confirm, &json!({})).await;
    }

    /// Asks for a plan as ada; answers its id and digest.
    pub(crate) async fn plan(&self, namespace: &Namespace, intent: &Value) -> (String, String) {
        let body = json!({
            "target": namespace.name, "intent": intent,
            "verification": { "settle_secs": 1, "window_secs": 20, "interval_secs": 1, "min_samples": 2 },
        });
        let created = self.ada.post("/v1/plans", &body).await;
        let text = |pointer| crate::api::text(&created, pointer);
        (text("/plan_id"), text("/plan/digest"))
    }

    /// Grace's yes to a plan.
    pub(crate) async fn approve(&self, plan: &str, digest: &str) {
        self.grace.post("/v1/approvals", &yes(plan, digest)).await;
    }

    /// Ada starts it; answers the execution's id.
    pub(crate) async fn execute(&self, plan: &str) -> String {
        let path = format!("/v1/plans/{plan}:execute");
        crate::api::text(&self.ada.post(&path, &json!({})).await, "/execution_id")
    }

    /// `carapulse audit verify` on a bundle, with the public keys of this installation and nothing else. Whether it passed,
    /// and what it says.
    pub(crate) async fn verify_bundle(&self, bundle: &[u8]) -> (bool, String) {
        let (tar, trust) = (
            self.folder().join("evidence.tar"),
            self.folder().join("trust.json"),
        );
        std::fs::write(&tar, bundle).expect("written");
        let config = load(&self.config);
        let db = self.db.as_role(DbRole::Gateway).await;
        let keys = carapulse::roles::trust(&config, &db).await.expect("public keys");
        std::fs::write(&trust, keys.to_text()).expect("written");
        let mut command = Command::new(CARAPULSE);
        command.args(["audit", "verify", "--bundle"]).arg(&tar);
        let output = command.arg("--trust").arg(&trust).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in &self.processes {
                eprintln!("--- {}\n{}", process.name, process.tail());
            }
        }
    }
}

/// An approval's body.
pub(crate) fn yes(plan: &str, digest: &str) -> Value {
    json!({ "plan_id": plan, "digest": digest, "status": "approved", "approver_note": "go" })
}

/// A child that ends with the test.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(name: &'static str, mut command: Command, log: PathBuf) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{name} cannot start: {e}"));
        Self { name, child, log }
    }

    /// Waits until `health` answers well.
    pub(crate) async fn ready(&mut self, http: &reqwest::Client, health: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = http.get(health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none(),
                "{} ended with {ended:?}:\n{}",
                self.name,
                self.tail()
            );
            assert!(
                Instant::now() < deadline,
                "{} is not ready:\n{}",
                self.name,
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn configure(folder: &Path, db: &TestDb, ports: [u16; 3]) -> PathBuf {
    let kubectl = given("CARAPULSE_TEST_KUBECTL");
    let text = format!(
        "data_dir = {data:?}\n[database.gateway]\nurl = {:?}\n[database.orchestrator]\nurl = {:?}\n\
         [database.tool_router]\nurl = {:?}\n[database.sequencer]\nurl = {:?}\n\
         [gateway]\nhttp_addr = \"127.0.0.1:{}\"\n\
         [tool_router]\nhttp_addr = \"127.0.0.1:{router}\"\nbase_url = \"http://127.0.0.1:{router}\"\ntool_dirs = [{tools:?}]\n\
         [orchestrator]\nhealth_addr = \"127.0.0.1:{}\"\nlease_secs = 5\n\
         [orchestrator.verification]\nsettle_secs = 1\nwindow_secs = 30\ninterval_secs = 1\nmin_samples = 2\n",
        db.url(DbRole::Gateway),
        db.url(DbRole::Orchestrator),
        db.url(DbRole::Router),
        db.url(DbRole::Sequencer),
        ports[0],
        ports[2],
        router = ports[1],
        data = folder.join("data"),
        tools = kubectl.parent().expect("kubectl lies in a folder"),
    );
    let path = folder.join("carapulse.toml");
    std::fs::write(&path, text).expect("written");
    load(&path).secrets().make_missing().expect("keys");
    path
}

fn load(path: &Path) -> Config {
    let sources = Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    };
    Config::load(&sources).expect("a sound configuration")
}

/// `carapulse token create`.
fn token(db: &TestDb, args: &[&str]) -> String {
    let mut command = Command::new(CARAPULSE);
    command.args(["token", "create", "--output=json"]).args(args);
    command.env("CARAPULSE_DSN", db.url(DbRole::Gateway));
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&said)
        .unwrap_or_else(|e| panic!("{e}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    crate::api::text(&answer, "/token")
}
