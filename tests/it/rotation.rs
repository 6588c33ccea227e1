//! Secrets change under running roles: files are replaced, nothing is restarted, and the path still goes through.

use std::{path::Path, time::Duration};

use carapulse::{
    audit::bundle::verify_bundle, config::Secrets, domain::Role, gateway::identity::Holder, store::DbRole,
};
use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use crate::{
    roles::{agent_config, evidence, slack, write},
    world::{
        World, free_port,
        process::{Life, Process},
        token,
    },
};

#[tokio::test]
async fn every_secret_is_replaced_under_running_roles_and_a_plan_still_succeeds() {
    let mut world = World::new().await;
    let secrets = world.dir.path().join("data/secrets");
    let mut processes = Vec::new();
    for role in ["tool-router", "gateway", "orchestrator"] {
        let mut process = world.start(role, None).await;
        process.ready(&world.http).await;
        processes.push(process);
    }
    world.register().await;
    let before = world.approved_plan(true).await;

    // The token that the roles show each other, in one step: whoever reads it first is understood by the others.
    let first = read(&secrets.join("router_token"));
    replace(&secrets.join("router_token"), "a-second-token");
    let replaced = |key: &str| format!("carapulse_secrets_replaced_total{{key=\"{key}\"}}");
    for port in [world.ports.router, world.ports.gateway, world.ports.orchestrator] {
        until_metric(&world, port, &replaced("tool_router.auth_token"), 1.0).await;
    }
    let router = async |token: &str| {
        let url = format!("http://127.0.0.1:{}/v1/tools", world.ports.router);
        let answer = world.http.get(url).bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(router("a-second-token").await, 200);
    assert_eq!(router(&first).await, 200, "for a while, the token before it");

    // The key that signs approvals: its public half comes first, then the key itself.
    let other = tempfile::tempdir().unwrap();
    Secrets::in_folder(other.path()).make_missing().unwrap();
    let public = secrets.join("approval_key.pub");
    let both = format!(
        "{}\n{}",
        read(&public),
        read(&other.path().join("approval_key.pub"))
    );
    replace(&public, &both);
    let keys = replaced("tool_router.approval_public_keys");
    for port in [world.ports.router, world.ports.gateway] {
        until_metric(&world, port, &keys, 1.0).await;
    }
    replace(
        &secrets.join("approval_key"),
        &read(&other.path().join("approval_key")),
    );
    until_metric(
        &world,
        world.ports.gateway,
        &replaced("gateway.approval_key"),
        1.0,
    )
    .await;

    // The login of the gateway: another user, who is allowed to act as it.
    let user = another_login(&world).await;
    let dsn = world.dir.path().join(format!("{}.dsn", DbRole::Gateway.name()));
    let address = world.db.address(DbRole::Gateway).with_user(&user, None);
    replace(&dsn, address.expose());
    until_metric(&world, world.ports.gateway, &replaced("database.gateway"), 1.0).await;
    end_connections(&world, "carapulse gateway").await;

    // A file that is lost leaves what was read last, and is told of.
    std::fs::remove_file(secrets.join("router_token")).unwrap();
    let unreadable = "carapulse_secrets_unreadable{key=\"tool_router.auth_token\"}";
    until_metric(&world, world.ports.router, unreadable, 1.0).await;
    let checkpoint_keys = world.trust().await.checkpoint_keys;
    let waiting = "carapulse_secrets_waiting_for_restart{key=\"orchestrator.checkpoint_key\"}";
    replace(
        &secrets.join("checkpoint_key"),
        &read(&other.path().join("checkpoint_key")),
    );
    until_metric(&world, world.ports.orchestrator, waiting, 1.0).await;
    replace(&secrets.join("router_token"), "a-third-token");
    until_metric(
        &world,
        world.ports.router,
        &replaced("tool_router.auth_token"),
        2.0,
    )
    .await;
    assert_eq!(router(&first).await, 401, "two rotations ago");

    // One plan approved with the key before, one with the present one; the evidence of both is proven with both keys.
    let mut trust = world.trust().await;
    trust.checkpoint_keys = checkpoint_keys;
    for plan in [Some(before), None] {
        let plan = match plan {
            Some(plan) => plan,
            None => {
                let dir = world.dir.path().to_owned();
                world.story.break_again(&dir);
                world.approved_plan(true).await
            }
        };
        let execution = world.execute(&plan).await.unwrap();
        let status = world.until_ended(&execution, Duration::from_secs(60)).await;
        assert_eq!(status, "succeeded");
        assert!(world.story.works());
        let report = verify_bundle(&evidence(&world, &execution).await, &trust);
        assert!(report.passed(), "{:?}", report.checks);
    }
    assert_eq!(logged_in(&world, "carapulse gateway").await, [user]);
    for process in &mut processes {
        assert_eq!(process.life(), Life::Runs, "{}: {}", process.role, process.tail());
    }
}

#[tokio::test]
async fn the_agent_takes_slacks_new_secret_and_shows_its_own_new_token() {
    let world = World::new().await;
    let service = || Holder::Service {
        owner: "Ada".to_owned(),
    };
    let first = token(&world.db, "slack", Role::Operator, service()).await;
    let mut gateway = world.start("gateway", None).await;
    gateway.ready(&world.http).await;
    let (port, folder) = (free_port(), world.dir.path().join("agent"));
    std::fs::create_dir_all(&folder).unwrap();
    let config = write(&folder, &agent_config(&world, &folder, port, &first));
    let mut agent = Process::start(world.dir.path(), "agent", &config, port, None);
    agent.ready(&world.http).await;

    let second = token(&world.db, "slack-2", Role::Operator, service()).await;
    replace(&folder.join("gateway_token"), &second);
    replace(&folder.join("slack_secret"), "slack's second secret");
    let replaced = |key: &str| format!("carapulse_secrets_replaced_total{{key=\"{key}\"}}");
    until_metric(&world, port, &replaced("agent.gateway_token"), 1.0).await;
    until_metric(&world, port, &replaced("agent.slack_signing_secret"), 1.0).await;
    sqlx::query("UPDATE token SET revoked_at = db_now() WHERE actor = 'slack'")
        .execute(&mut world.db.owner().await)
        .await
        .unwrap();
    let unknown = format!("status exec_{}", "0".repeat(32));
    for (secret, status) in [
        ("slack's second secret", 200),
        ("slack's own secret", 200),
        ("another", 401),
    ] {
        // Each body is answered once only.
        let (code, said) = slack(
            &world,
            port,
            &format!("{unknown}{}", " ".repeat(secret.len())),
            secret,
        )
        .await;
        assert_eq!(code, status, "{said}");
        assert!(
            code == 401 || said.contains("There is no such resource"),
            "{said}"
        );
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Beside and into place, as a mounted Secret changes.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Waits until `/metrics` of the role at `port` shows this value, and not a smaller one.
async fn until_metric(world: &World, port: u16, name: &str, value: f64) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = world.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        if line.is_some_and(|rest| rest.trim().parse::<f64>().is_ok_and(|found| found >= value)) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} at {port}: {line:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A user of the server who may act as the gateway's role.
async fn another_login(world: &World) -> String {
    let user = format!("gateway_{}", uuid::Uuid::new_v4().simple());
    let made = format!("CREATE ROLE {user} LOGIN; GRANT carapulse_gateway TO {user}");
    sqlx::raw_sql(AssertSqlSafe(made))
        .execute(&mut world.db.superuser().await)
        .await
        .unwrap();
    user
}

async fn end_connections(world: &World, application: &str) {
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = $1",
    )
    .bind(application)
    .fetch_one(&mut world.db.superuser().await)
    .await
    .unwrap();
    assert!(ended > 0);
}

async fn logged_in(world: &World, application: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT DISTINCT usename::text FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = $1",
    )
    .bind(application)
    .fetch_all(&mut world.db.superuser().await)
    .await
    .unwrap()
}
