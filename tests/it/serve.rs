//! A role as a process: ready, observed, drained.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use carapulse::store::DbRole;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    harness::TestDb,
    world::{World, free_port, process::Process},
};

/// Starts the tool-router on a free port and waits until it says that it is ready. Answers where it listens.
fn start(db: &TestDb, folder: &Path) -> (Child, String) {
    let made = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .arg("init")
        .arg(folder)
        .output()
        .unwrap();
    assert!(made.status.success());
    let mut child = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .arg("--config")
        .arg(folder.join("carapulse.toml"))
        .args([
            "--set",
            "log.format=json",
            "--set",
            "tool_router.http_addr=127.0.0.1:0",
        ])
        .args(["--set", &format!("data_dir={}", folder.join("data").display())])
        .args([
            "--set",
            "database.tool_router.url=env:ROUTER_DSN",
            "serve",
            "--role",
            "tool-router",
        ])
        .env("ROUTER_DSN", db.url(DbRole::Router))
        .env_remove("DATABASE_URL")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = None;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["message"].as_str() {
            Some("listening") => address = line["address"].as_str().map(str::to_owned),
            Some("ready") => break,
            _ => {}
        }
    }
    (
        child,
        format!("http://{}", address.expect("it says where it listens")),
    )
}

#[tokio::test]
async fn a_role_is_ready_observed_and_ends_when_told_to() {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut child, url) = start(&db, folder.path());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready: serde_json::Value = client
        .get(format!("{url}/readyz"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(ready["status"], "ok");
    assert_eq!(ready["checks"]["database"]["status"], "ok");
    assert_eq!(
        client
            .get(format!("{url}/healthz"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let metrics = client
        .get(format!("{url}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(metrics.contains("carapulse_roles_build_info"), "{metrics}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(client.get(format!("{url}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn the_gateways_listener_for_browsers_has_health_and_no_api() {
    let world = World::new().await;
    let canvas = free_port();
    let text = std::fs::read_to_string(&world.config).unwrap();
    let with = format!("[gateway]\ncanvas_addr = \"127.0.0.1:{canvas}\"\n");
    std::fs::write(&world.config, text.replace("[gateway]\n", &with)).unwrap();
    assert_eq!(healthcheck(&world).0, Some(1), "nothing runs yet");

    let mut gateway = Process::start(
        world.dir.path(),
        "gateway",
        &world.config,
        world.ports.gateway,
        None,
    );
    gateway.ready(&world.http).await;
    let get = async |port: u16, path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let answer = world.http.get(url).bearer_auth(&world.ada).send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            answer.json::<serde_json::Value>().await.unwrap_or_default(),
        )
    };
    let (_, ready) = get(world.ports.gateway, "/readyz").await;
    assert_eq!(ready["checks"]["canvas"]["status"], "ok", "{ready}");
    assert_eq!(get(canvas, "/healthz").await.0, 200);
    assert_eq!(get(canvas, "/readyz").await.0, 200);
    for path in ["/", "/ui/plans", "/v1/plans", "/metrics"] {
        let (status, problem) = get(canvas, path).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (404, Some("urn:carapulse:problem:not_found")),
            "{path}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("port {}", world.ports.gateway)),
            "{detail}"
        );
    }
    let (code, said) = healthcheck(&world);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!(":{canvas}/")) && said.lines().count() == 2,
        "{said}"
    );
}

#[tokio::test]
async fn clocks_that_disagree_make_a_role_unready_and_nothing_is_written() {
    let world = World::new().await;
    let mut gateway = world.start("gateway", None).await;
    gateway.ready(&world.http).await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", world.ports.gateway);
    let ready = async || {
        let answer = world.http.get(url("/readyz")).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()["checks"]["clock"].clone()
    };
    let freeze = async |frozen: bool| {
        let body = serde_json::json!({"frozen": frozen, "reason": "test"});
        let request = world.http.post(url("/v1/freeze")).bearer_auth(&world.ada);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    let until = async |status: &str| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
        while ready().await["status"] != status {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the clock is never {status}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    assert_eq!(freeze(true).await.0, 200);
    assert_eq!(doctor(&world), "ok");

    world.db.advance(Duration::from_secs(3600)).await;
    until("failed").await;
    let message = ready().await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("this machine's clock is -3"), "{message}");
    assert_eq!(freeze(true).await.0, 200, "the brake works all the same");
    let (status, problem) = freeze(false).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (503, Some("urn:carapulse:problem:clock_skew"))
    );
    assert!(world.get("/v1/targets").await.is_some(), "reads are answered");
    let metrics = world.http.get(url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let gauge = metrics
        .lines()
        .find_map(|line| line.strip_prefix("carapulse_clock_skew_seconds{role=\"gateway\"} "));
    assert!(gauge.unwrap().parse::<f64>().unwrap() < -3500.0, "{gauge:?}");
    assert_eq!(doctor(&world), "FAILED");

    sqlx::query("UPDATE installation SET clock_offset = '0'")
        .execute(&mut world.db.owner().await)
        .await
        .unwrap();
    until("ok").await;
    assert_eq!(freeze(true).await.0, 200);
}

/// What doctor says of the clock.
fn doctor(world: &World) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .arg("--config")
        .arg(&world.config)
        .arg("doctor")
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some("clock"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.unwrap_or_else(|| panic!("no word of the clock: {said}"))
        .to_owned()
}

fn healthcheck(world: &World) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .arg("--config")
        .arg(&world.config)
        .args(["healthcheck", "--role", "gateway"])
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_wrong_setting_ends_with_its_own_code_and_names_the_key() {
    let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args([
            "--set",
            "gateway.http_addr=8080",
            "config",
            "check",
            "--role",
            "gateway",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("carapulse: --set: gateway.http_addr: found"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let other = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args([
            "--set",
            "gateway.http_addr=8080",
            "config",
            "check",
            "--role",
            "sandbox",
        ])
        .output()
        .unwrap();
    assert_eq!(
        other.status.code(),
        Some(0),
        "only what the role needs must be right"
    );
}
