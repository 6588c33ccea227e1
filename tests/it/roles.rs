//! Five roles as five processes, each with its own configuration and only its own secrets; a plan is played through them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use carapulse::{
    agent::signature,
    audit::bundle::verify_bundle,
    config::Database,
    domain::{Clock as _, Role, SystemClock},
    gateway::identity::Holder,
    store::DbRole,
};
use secrecy::SecretString;

use crate::world::{
    World, free_port, load,
    process::{Life, Process},
    token,
};

/// The secrets of each role: what `carapulse init` makes for it, and nothing else.
const SECRETS: [(&str, &[&str]); 5] = [
    ("sandbox", &["job_key.pub", "sandbox_key", "sealing_key"]),
    (
        "tool-router",
        &[
            "approval_key.pub",
            "job_key",
            "router_token",
            "sandbox_key.pub",
            "sealing_key.pub",
        ],
    ),
    ("gateway", &["approval_key", "approval_key.pub", "router_token"]),
    ("orchestrator", &["checkpoint_key", "router_token"]),
    ("agent", &[]),
];

#[tokio::test]
async fn five_roles_each_with_only_its_own_configuration_play_the_path() {
    let world = World::new().await;
    let (sandbox, agent) = (free_port(), free_port());
    let holder = Holder::Service {
        owner: "Ada".to_owned(),
    };
    let slack_token = token(&world.db, "slack", Role::Operator, holder).await;
    let mut processes = Vec::new();
    for (role, secrets) in SECRETS {
        let folder = world.dir.path().join(role);
        give(&world, &folder, secrets);
        let (port, text) = match role {
            "sandbox" => (sandbox, sandbox_config(&world, sandbox)),
            "tool-router" => (world.ports.router, router_config(&world, sandbox)),
            "gateway" => (world.ports.gateway, gateway_config(&world)),
            "orchestrator" => (world.ports.orchestrator, orchestrator_config(&world)),
            _ => (agent, agent_config(&world, &folder, agent, &slack_token)),
        };
        let config = write(&folder, &text);
        let mut process = Process::start(world.dir.path(), role, &config, port, None);
        process.ready(&world.http).await;
        assert_eq!(process.life(), Life::Runs, "{role}: {}", process.tail());
        processes.push(process);
    }
    everybody_has_only_their_own(&world);

    world.register().await;
    let plan = world.approved_plan(true).await;
    let execution = world.execute(&plan).await.unwrap();
    let status = world.until_ended(&execution, Duration::from_secs(60)).await;
    assert_eq!(status, "succeeded");
    assert_eq!(
        (world.story.marked(&execution, "forward"), world.story.added()),
        (1, 1)
    );
    assert!(world.story.works());
    let bundle = evidence(&world, &execution).await;
    let report = verify_bundle(&bundle, &world.trust().await);
    assert!(report.passed(), "{:?}", report.checks);

    let said = slack(
        &world,
        agent,
        &format!("status {execution}"),
        "slack's own secret",
    )
    .await;
    assert_eq!(said, (200, format!("{execution} is succeeded")));
    let forged = slack(&world, agent, &format!("status {plan}"), "another secret").await;
    assert_eq!(forged.0, 401, "{}", forged.1);
    for process in &mut processes {
        assert_eq!(process.life(), Life::Runs, "{}: {}", process.role, process.tail());
    }
}

/// What no role may hold is not in its reach, and a role cannot be started on another's configuration.
fn everybody_has_only_their_own(world: &World) {
    for (role, secrets) in SECRETS {
        let folder = world.dir.path().join(role);
        let held: BTreeSet<String> = std::fs::read_dir(folder.join("data/secrets"))
            .map(|files| {
                files
                    .map(|file| file.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        assert!(held.iter().eq(secrets.iter()), "{role}: {held:?}");
        let config = load(&folder.join("carapulse.toml"));
        let database: Database = config.get().unwrap();
        let known = |of: DbRole| database.login(of).url.is_some();
        let expected: &[DbRole] = match role {
            "gateway" => &[DbRole::Gateway],
            "tool-router" => &[DbRole::Router],
            "orchestrator" => &[DbRole::Orchestrator, DbRole::Sequencer],
            _ => &[],
        };
        let found: Vec<DbRole> = DbRole::SERVING.into_iter().filter(|of| known(*of)).collect();
        assert!(
            database.url.is_none() && expected.iter().all(|of| found.contains(of)),
            "{role}"
        );
        assert_eq!(
            found.len(),
            expected.len(),
            "{role} knows another role's database"
        );
    }
    // With every database open to it: what it lacks is the key.
    for (role, of, key) in [
        ("orchestrator", "gateway", "checkpoint_key"),
        ("gateway", "orchestrator", "approval_key"),
        ("sandbox", "tool-router", "sealing_key"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_carapulse"));
        command
            .arg("--config")
            .arg(world.dir.path().join(of).join("carapulse.toml"))
            .args(["serve", "--role", role])
            .env_remove("DATABASE_URL");
        for address in [
            "gateway.http_addr",
            "sandbox.http_addr",
            "orchestrator.health_addr",
        ] {
            command.args(["--set", &format!("{address}=127.0.0.1:0")]);
        }
        for (section, role) in [
            ("gateway", DbRole::Gateway),
            ("orchestrator", DbRole::Orchestrator),
            ("sequencer", DbRole::Sequencer),
        ] {
            let path = world.dir.path().join(format!("{}.dsn", role.name()));
            command.args([
                "--set",
                &format!("database.{section}.url=file:{}", path.display()),
            ]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(key),
            "{role} on the configuration of {of}: {said}"
        );
    }
}

/// Copies the named secrets, and no other, into the role's own data folder.
fn give(world: &World, folder: &Path, secrets: &[&str]) {
    let own = folder.join("data/secrets");
    std::fs::create_dir_all(&own).unwrap();
    for name in secrets {
        std::fs::copy(world.dir.path().join("data/secrets").join(name), own.join(name)).unwrap();
    }
}

pub(crate) fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("carapulse.toml");
    let data = folder.join("data");
    std::fs::write(&path, format!("data_dir = {data:?}\n{text}")).unwrap();
    path
}

fn dsn(world: &World, section: &str, role: DbRole) -> String {
    let path = world.dir.path().join(format!("{}.dsn", role.name()));
    format!("[database.{section}]\nurl = \"file:{}\"\n", path.display())
}

/// Logs and evidence: the one folder that gateway, tool-router and orchestrator have in common.
fn objects(world: &World) -> String {
    format!("[objects]\nfolder = {:?}\n", world.dir.path().join("objects"))
}

fn sandbox_config(world: &World, port: u16) -> String {
    let repository = world.story.path();
    format!("[sandbox]\nhttp_addr = \"127.0.0.1:{port}\"\nmounts = [{repository:?}]\n")
}

fn router_config(world: &World, sandbox: u16) -> String {
    let public = |name: &str| {
        let path = world.dir.path().join("tool-router/data/secrets").join(name);
        format!("file:{}", path.display())
    };
    format!(
        "{}{}[tool_router]\nhttp_addr = \"127.0.0.1:{}\"\n\
         sandbox = {{ kind = \"remote\", url = \"http://127.0.0.1:{sandbox}\", public_key = {:?}, signing_public_key = {:?} }}\n",
        dsn(world, "tool_router", DbRole::Router),
        objects(world),
        world.ports.router,
        public("sealing_key.pub"),
        public("sandbox_key.pub"),
    )
}

fn router_address(world: &World) -> String {
    format!(
        "[tool_router]\nbase_url = \"http://127.0.0.1:{}\"\n",
        world.ports.router
    )
}

fn gateway_config(world: &World) -> String {
    format!(
        "{}{}{}[gateway]\nhttp_addr = \"127.0.0.1:{}\"\n",
        dsn(world, "gateway", DbRole::Gateway),
        objects(world),
        router_address(world),
        world.ports.gateway
    )
}

fn orchestrator_config(world: &World) -> String {
    format!(
        "{}{}{}{}[orchestrator]\nhealth_addr = \"127.0.0.1:{}\"\nlease_secs = 2\n",
        dsn(world, "orchestrator", DbRole::Orchestrator),
        dsn(world, "sequencer", DbRole::Sequencer),
        objects(world),
        router_address(world),
        world.ports.orchestrator
    )
}

pub(crate) fn agent_config(world: &World, folder: &Path, port: u16, gateway_token: &str) -> String {
    let (own, shared) = (folder.join("gateway_token"), folder.join("slack_secret"));
    std::fs::write(&own, gateway_token).unwrap();
    std::fs::write(&shared, "slack's own secret").unwrap();
    format!(
        "[agent]\nhttp_addr = \"127.0.0.1:{port}\"\ngateway_url = \"http://127.0.0.1:{}\"\n\
         gateway_token = \"file:{}\"\nslack_signing_secret = \"file:{}\"\n",
        world.ports.gateway,
        own.display(),
        shared.display()
    )
}

/// A slash command as Slack sends it, signed with `secret`.
pub(crate) async fn slack(world: &World, port: u16, command: &str, secret: &str) -> (u16, String) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("text", command)
        .finish();
    let timestamp = SystemClock.now().timestamp().to_string();
    let signed = signature::sign(
        &SecretString::from(secret.to_owned()),
        &timestamp,
        body.as_bytes(),
    );
    let request = world
        .http
        .post(format!("http://127.0.0.1:{port}/slack/commands"))
        .header("x-slack-request-timestamp", timestamp)
        .header("x-slack-signature", signed)
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

pub(crate) async fn evidence(world: &World, execution: &str) -> Vec<u8> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(bundle) = world.get(&format!("/v1/executions/{execution}/evidence")).await {
            return bundle;
        }
        assert!(tokio::time::Instant::now() < deadline, "no evidence bundle");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
