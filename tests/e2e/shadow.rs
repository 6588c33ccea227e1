//! OPA as the second opinion: a real OPA serves the bundle, then nothing, then another one; decisions go on. Needs no cluster.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};

use crate::{
    given,
    world::{World, free_port},
};

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_also_asked_of_opa_and_what_differs_reaches_a_person() {
    let world = World::new().await;
    let (messages, desk) = desk().await;
    let opa = Opa::exported(world.dir.path());
    configure(&world, opa.port, &desk);
    let running = opa.start(&world).await;
    let mut processes = Vec::new();
    for role in ["gateway", "tool-router", "orchestrator"] {
        let mut process = world.start(role, None).await;
        process.ready(&world.http).await;
        processes.push(process);
    }
    world.register().await;

    // The same bundle: planned, approved, executed, and OPA says the same of each decision.
    let plan = world.approved_plan(true).await;
    let execution = world.execute(&plan).await.expect("it starts");
    assert_eq!(world.until_ended(&execution, LIMIT).await, "succeeded");
    for (role, port) in [
        ("gateway", world.ports.gateway),
        ("tool-router", world.ports.router),
    ] {
        let seen = Metrics::until(&world, port, role, |seen| seen.of("checks_total") >= 1.0).await;
        assert_eq!(seen.of("differences_total"), 0.0, "{role}: {}", seen.0);
        assert_eq!(seen.of("errors_total"), 0.0, "{role}: {}", seen.0);
    }

    // No OPA: decisions go on, and the errors are counted.
    drop(running);
    world.approved_plan(true).await;
    gateway_counts(&world, "errors_total{kind=\"unreachable\"}").await;

    // The same revision, another rule: counted, logged, recorded, paged.
    opa.change("write.rego", "max_targets := 10 if", "max_targets := 9 if");
    let running = opa.start(&world).await;
    world.approved_plan(true).await;
    let seen = gateway_counts(&world, "differences_total{kind=\"answer\"}").await;
    assert_eq!(seen.of("differences_total{kind=\"bundle\"}"), 0.0, "{}", seen.0);
    let log = std::fs::read_to_string(world.dir.path().join("gateway.log")).expect("a log");
    assert!(log.contains("OPA does not say what our own engine says"), "{log}");
    let page = paged(&messages).await;
    assert_eq!(page["severity"], "page", "{page:#}");
    assert_eq!(page["body"]["fields"], json!(["constraints"]), "{page:#}");
    let events = world
        .get("/v1/audit/events?action=policy.shadow_difference")
        .await;
    let events: Value = serde_json::from_slice(&events.expect("the log can be read")).expect("JSON");
    assert_eq!(
        events["data"][0]["details"]["ours"], "require_approval",
        "{events:#}"
    );

    // Another bundle by its own word.
    drop(running);
    opa.export();
    let manifest = r#"{"revision":"dev","roots":["policy"]}"#;
    std::fs::write(opa.bundle.join(".manifest"), manifest).expect("written");
    let _running = opa.start(&world).await;
    world.approved_plan(true).await;
    gateway_counts(&world, "differences_total{kind=\"bundle\"}").await;
}

/// The roles' common configuration names OPA and somebody's webhook.
fn configure(world: &World, opa: u16, desk: &str) {
    let webhook = world.dir.path().join("webhook");
    std::fs::write(&webhook, desk).expect("written");
    let mut config = File::options()
        .append(true)
        .open(&world.config)
        .expect("a configuration");
    write!(
        config,
        "[policy]\nshadow_url = \"http://127.0.0.1:{opa}\"\n[notify]\nwebhook_url = \"file:{}\"\n",
        webhook.display()
    )
    .expect("written");
}

async fn gateway_counts(world: &World, series: &str) -> Metrics {
    Metrics::until(world, world.ports.gateway, series, |seen| seen.of(series) >= 1.0).await
}

/// The shadow's counters of one process.
struct Metrics(String);

impl Metrics {
    async fn until(world: &World, port: u16, what: &str, reached: impl Fn(&Self) -> bool) -> Self {
        let deadline = Instant::now() + LIMIT;
        loop {
            let url = format!("http://127.0.0.1:{port}/metrics");
            let answer = world.http.get(url).send().await.expect("it answers");
            let text = answer.text().await.expect("text");
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix("carapulse_policy_shadow_"));
            let seen = Self(lines.collect::<Vec<_>>().join("\n"));
            if reached(&seen) {
                return seen;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: not within {LIMIT:?}:\n{}",
                seen.0
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The sum of the series whose name and labels begin so.
    fn of(&self, series: &str) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            name.starts_with(series)
                .then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }
}

/// An OPA on a bundle of its own.
struct Opa {
    bundle: PathBuf,
    log: PathBuf,
    port: u16,
}

/// Ends when dropped.
struct Running(Child);

impl Opa {
    fn exported(folder: &Path) -> Self {
        let this = Self {
            bundle: folder.join("policies"),
            log: folder.join("opa.log"),
            port: free_port(),
        };
        this.export();
        this
    }

    /// `carapulse policy export`: exactly the bundle that a new installation activates.
    fn export(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carapulse"));
        command.args(["policy", "export", "--builtin"]).arg(&self.bundle);
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{output:?}");
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.bundle.join("policy/assistant/v1").join(file);
        let text = std::fs::read_to_string(&path).expect("a rule");
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).expect("written");
    }

    async fn start(&self, world: &World) -> Running {
        let output = File::create(&self.log).expect("a log");
        let mut command = Command::new(given("CARAPULSE_TEST_OPA"));
        command
            .args(["run", "--server", "--disable-telemetry", "--bundle"])
            .arg(&self.bundle)
            .arg(format!("--addr=127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output);
        let running = Running(command.spawn().expect("OPA starts"));
        let health = format!("http://127.0.0.1:{}/health", self.port);
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = world.http.get(&health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return running;
            }
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "OPA is not ready: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

type Messages = Arc<Mutex<Vec<Value>>>;

/// Somebody's webhook, and its address.
async fn desk() -> (Messages, String) {
    let messages = Messages::default();
    let take = |State(messages): State<Messages>, Json(message): Json<Value>| async move {
        messages.lock().expect("not poisoned").push(message);
    };
    let router = Router::new()
        .route("/hook", post(take))
        .with_state(Arc::clone(&messages));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (messages, url)
}

/// The page about the shadow, once it has come.
async fn paged(messages: &Messages) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let come = messages.lock().expect("not poisoned").clone();
        let about_policy = |message: &&Value| message["dedupe_key"].to_string().contains("policy_shadow/");
        if let Some(page) = come.iter().find(about_policy) {
            return page.clone();
        }
        assert!(Instant::now() < deadline, "no page within {LIMIT:?}: {come:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
