//! A role as a process: ready, observed, drained.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use carapulse::store::DbRole;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::TestDb;

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
