//! The client commands as a script sees them: output, exit codes, one-line errors.

use std::process::Stdio;

use carapulse::{domain::Role, store::DbRole};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::gateway::world::World;

/// What a command printed and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn run(world: &World, token: &str, args: &[&str]) -> Said {
    let child = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args(args)
        .env("CARAPULSE_URL", &world.url)
        .env("CARAPULSE_TOKEN", token)
        .env("CARAPULSE_DSN", world.db.url(DbRole::Owner))
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output();
    let output = child.await.unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn the_first_token_comes_from_the_database_and_a_revoked_one_ends() {
    let world = World::new().await;
    let make = [
        "token",
        "create",
        "--actor",
        "ada",
        "--role",
        "admin",
        "--person",
        "Ada",
        "--expires",
        "30d",
    ];
    let made = run(&world, "", &make).await;
    assert_eq!(made.code, 0, "{made:?}");
    let token = made.out.trim();
    assert!(token.starts_with("cpl_default_"), "{made:?}");
    assert_eq!(run(&world, token, &["plan", "list"]).await.code, 0);
    let listed = run(&world, "", &["token", "list", "-o", "json"]).await;
    assert!(!listed.out.contains(token), "the text is stored nowhere");
    let id = listed.json()[0]["token_id"].as_str().unwrap().to_owned();
    assert_eq!(run(&world, "", &["token", "revoke", &id]).await.code, 0);
    let refused = run(&world, token, &["plan", "list"]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert_eq!(refused.err.trim().lines().count(), 1, "one line: {refused:?}");
    let linked = [
        "token", "create", "--actor", "ada", "--role", "viewer", "--person", "Eve",
    ];
    assert_eq!(
        run(&world, "", &linked).await.code,
        1,
        "a login stays with its person"
    );
    let service = [
        "token",
        "create",
        "--actor",
        "bot",
        "--role",
        "approver",
        "--service",
        "--owner",
        "Ada",
    ];
    assert_eq!(
        run(&world, "", &service).await.code,
        1,
        "a service never approves"
    );
}

#[tokio::test]
async fn a_plan_goes_from_wish_to_execution_and_every_refusal_has_its_code() {
    let world = World::new().await;
    world.target("shop").await;
    let (ada, bob) = (
        world.token("ada", Role::Operator).await,
        world.token("bob", Role::Approver).await,
    );
    let steps = json!([{"tool": "kubectl", "action": "scale", "args": {"resource": "deployment/checkout", "replicas": 5}}]).to_string();
    let made = run(
        &world,
        &ada,
        &[
            "plan", "create", "--target", "shop", "--steps", &steps, "-o", "json",
        ],
    )
    .await;
    assert_eq!(made.code, 0, "{made:?}");
    let plan = made.json()["plan_id"].as_str().unwrap().to_owned();
    let digest = made.json()["plan"]["digest"].as_str().unwrap().to_owned();
    let shown = run(&world, &ada, &["plan", "get", &plan]).await;
    assert!(
        shown.out.contains("kubectl.scale") && shown.out.contains(&digest),
        "{shown:?}"
    );

    let approve = async |token: &str, rest: &[&str]| {
        let args: Vec<&str> = ["plan", "approve", &plan]
            .into_iter()
            .chain(rest.iter().copied())
            .collect();
        run(&world, token, &args).await
    };
    assert_eq!(
        approve(&bob, &[]).await.code,
        2,
        "nobody can be asked, and no digest was given"
    );
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(approve(&bob, &["--digest", &other, "--yes"]).await.code, 7);
    assert_eq!(
        approve(&ada, &["--digest", &digest, "--yes"]).await.code,
        5,
        "the requester"
    );
    assert_eq!(
        run(&world, &ada, &["plan", "execute", &plan]).await.code,
        7,
        "not approved"
    );
    assert_eq!(approve(&bob, &["--digest", &digest, "--yes"]).await.code, 0);
    let started = run(&world, &ada, &["plan", "execute", &plan]).await;
    assert_eq!(started.code, 0, "{started:?}");
    let execution = started.out.trim().to_owned();
    let again = run(&world, &ada, &["plan", "execute", &plan]).await;
    assert_eq!(again.out.trim(), execution, "sent twice, done once");

    let listed = run(&world, &ada, &["exec", "list", "--plan", &plan, "-o", "json"]).await;
    assert_eq!(listed.json()["data"][0]["execution_id"], execution.as_str());
    assert!(
        run(&world, &ada, &["exec", "list", "-o", "yaml"])
            .await
            .out
            .contains("execution_id: exec_")
    );
    assert_eq!(run(&world, &ada, &["exec", "logs", &execution]).await.code, 0);
    sqlx::query("UPDATE execution SET status = 'rolled_back', completed_at = now()")
        .execute(&mut world.owner_in_default().await)
        .await
        .unwrap();
    let followed = run(&world, &ada, &["exec", "logs", &execution, "--follow"]).await;
    assert_eq!(followed.code, 9, "{followed:?}");
    assert_eq!(run(&world, &ada, &["exec", "get", &execution]).await.code, 9);
    let missing = run(
        &world,
        &ada,
        &["plan", "get", "plan_00000000000000000000000000000001"],
    )
    .await;
    assert_eq!(missing.code, 6, "{missing:?}");
    assert_eq!(run(&world, "", &["plan", "list"]).await.code, 4, "no token");
}

#[tokio::test]
async fn a_target_is_proposed_from_a_file_and_confirmed_by_another_admin() {
    let world = World::new().await;
    let (ada, bob) = (
        world.token("ada", Role::Admin).await,
        world.token("bob", Role::Admin).await,
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, "name = \"shop\"\ncontext = { environment = \"prod\" }\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(run(&world, &ada, &["target", "propose", file]).await.code, 0);
    let shown = run(&world, &bob, &["target", "show", "shop", "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let change = shown["pending"]["change_id"].as_str().unwrap();
    let confirm = ["target", "confirm", "shop", "--change", change];
    assert_eq!(run(&world, &ada, &confirm).await.code, 5);
    assert_eq!(run(&world, &bob, &confirm).await.code, 0);
    let listed = run(&world, &ada, &["target", "list"]).await;
    assert!(
        listed.out.contains("shop") && listed.out.contains("observe"),
        "{listed:?}"
    );
    assert_eq!(
        run(&world, &ada, &["freeze", "--reason", "cut-over"]).await.code,
        0
    );
    assert_eq!(run(&world, &ada, &["unfreeze", "--reason", "done"]).await.code, 0);
    assert_eq!(run(&world, &ada, &["audit", "list"]).await.code, 0);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_said_in_one_line() {
    let world = World::new().await;
    let said = run(
        &world,
        "cpl_default_x",
        &["--url", "http://127.0.0.1:1", "plan", "list"],
    )
    .await;
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!(said.err.trim().lines().count(), 1, "{said:?}");
}

#[tokio::test]
async fn the_catalogue_is_listed_and_an_unknown_tool_or_action_names_what_there_is() {
    let world = World::new().await;
    let ada = world.token("ada", Role::Viewer).await;
    let listed = run(&world, &ada, &["tools", "list"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    let lines = || listed.out.lines();
    assert!(
        lines().any(|line| line.contains("kubectl") && line.contains("scale")),
        "{listed:?}"
    );
    let scale = run(&world, &ada, &["tools", "get", "kubectl", "scale", "-o", "json"]).await;
    assert_eq!(scale.code, 0, "{scale:?}");
    assert_eq!(
        (&scale.json()["tool"], &scale.json()["action"]),
        (&json!("kubectl"), &json!("scale"))
    );
    for unknown in [["kubectl", "dance"], ["dance", "scale"]] {
        let refused = run(&world, &ada, &["tools", "get", unknown[0], unknown[1]]).await;
        assert_eq!(refused.code, 6, "{refused:?}");
        assert_eq!(refused.err.trim().lines().count(), 1, "one line: {refused:?}");
        assert!(refused.err.contains("dance"), "{refused:?}");
    }
}
