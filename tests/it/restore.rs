//! A database that was restored from a backup, under running roles.

use std::{process::Command, time::Duration};

use carapulse::store::DbRole;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{World, process::Process};

const ROLES: [&str; 3] = ["tool-router", "gateway", "orchestrator"];

#[tokio::test]
async fn a_restored_database_takes_no_write_until_a_person_acknowledges_and_voids_unused_approvals() {
    let world = World::new().await;
    let mut roles = start(&world, &ROLES).await;
    world.register().await;
    let (unused, open) = (world.approved_plan(true).await, world.approved_plan(true).await);
    until_published(&world, 1, 0).await;
    // The orchestrator is gone: what is asked for now is still open when the backup is taken.
    roles.truncate(2);
    let open = world.execute(&open).await.unwrap();
    drop(roles);
    let backup = world.db.back_up().await;

    let roles = start(&world, &ROLES).await;
    assert_eq!(
        world.until_ended(&open, Duration::from_secs(60)).await,
        "succeeded"
    );
    let size = published(&world, 1);
    world.approved_plan(true).await;
    until_published(&world, 1, size).await;
    drop(roles);
    world.db.restore(&backup).await;

    let mut roles = start(&world, &ROLES).await;
    let refused = until_refused(&world).await;
    assert_eq!(refused["type"], "urn:carapulse:problem:read_only", "{refused}");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("carapulse restore acknowledge")
    );
    assert!(world.get("/v1/plans").await.is_some(), "reads are answered");
    assert_eq!(
        world.until_ended(&open, Duration::from_secs(60)).await,
        "needs_attention"
    );
    assert_eq!(
        carapulse(&world, &["restore", "status"]).1.lines().next(),
        Some("generation 1")
    );
    let (code, said) = carapulse(
        &world,
        &["restore", "acknowledge", "--by", "Ada", "--reason", " "],
    );
    assert_eq!((code, said.is_empty()), (Some(1), true), "a reason is wanted");

    let (code, said) = carapulse(
        &world,
        &[
            "restore",
            "acknowledge",
            "--by",
            "Ada",
            "--reason",
            "the disk was lost",
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("1 unused approvals are void") && said.contains("generation 2"),
        "{said}"
    );
    until_taken(&world).await;
    let refused = world.execute(&unused).await.unwrap_err();
    assert!(
        refused.contains("not_approved") || refused.contains("approval"),
        "{refused}"
    );
    assert_eq!(
        world.until_ended(&open, Duration::from_secs(10)).await,
        "needs_attention",
        "what an older generation began acts no more"
    );
    until_published(&world, 2, 0).await;
    let events = world.get("/v1/audit/events?limit=200").await.unwrap();
    let events: Value = serde_json::from_slice(&events).unwrap();
    let of = |action: &str| {
        let mut found = events["data"].as_array().unwrap().iter();
        found.find(|event| event["action"] == action).cloned()
    };
    assert!(of("approval.void").is_some(), "{events}");
    assert!(
        of("system.restored")
            .unwrap()
            .to_string()
            .contains("the disk was lost")
    );

    // The new generation works: the log grows and is published, a new approval is good.
    let plan = world.approved_plan(true).await;
    assert!(world.execute(&plan).await.is_ok());
    for process in &mut roles {
        let life = process.life();
        assert_eq!(life, crate::world::process::Life::Runs, "{}", process.tail());
    }
}

async fn start(world: &World, roles: &[&'static str]) -> Vec<Process> {
    let mut processes = Vec::new();
    for role in roles {
        let mut process = world.start(role, None).await;
        process.ready(&world.http).await;
        processes.push(process);
    }
    processes
}

/// Size of the newest checkpoint that was published in a generation; 0 without one.
fn published(world: &World, generation: u64) -> u64 {
    let folder = world
        .dir
        .path()
        .join(format!("data/objects/checkpoints/{generation:010}"));
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.file_name().to_str()?.parse().ok());
    sizes.max().unwrap_or_default()
}

async fn until_published(world: &World, generation: u64, beyond: u64) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while published(world, generation) <= beyond {
        assert!(Instant::now() < deadline, "no checkpoint beyond {beyond}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn freeze(world: &World, frozen: bool) -> (u16, Value) {
    let url = format!("http://127.0.0.1:{}/v1/freeze", world.ports.gateway);
    let request = world.http.post(url).bearer_auth(&world.ada);
    let body = json!({"frozen": frozen, "reason": "to see whether it is taken"});
    let answer = request.json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn until_refused(world: &World) -> Value {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let (status, body) = freeze(world, false).await;
        if status == 409 {
            return body;
        }
        assert!(Instant::now() < deadline, "still taken: {status} {body}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn until_taken(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while freeze(world, false).await.0 != 200 {
        assert!(Instant::now() < deadline, "still refused");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn carapulse(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args(args)
        .args(["--dsn", "env:OWNER_DSN"])
        .env("OWNER_DSN", world.db.url(DbRole::Owner))
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}
