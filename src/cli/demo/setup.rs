//! Everything that the demo needs before the alert: Postgres, schema, keys, people, processes, a registered target.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;

use super::{Demo, api::Api, children::Process, scene::Scene, screen::Screen};
use crate::{
    audit::Trust,
    config::{Config, Sources},
    domain::{Actor, OpCtx, Role, TenantId},
    gateway::identity::{self, Holder, NewToken},
    store::{
        Db, DbRole,
        embedded::{Server, Settings},
        migrate::{Migrator, Options},
    },
};

/// A world in which an incident can be played.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) gateway_url: String,
    pub(super) orchestrator_url: String,
    pub(super) scene: Scene,
    pub(super) trust: Trust,
    /// Asks for changes, and proposes the target.
    pub(super) ada: Api,
    /// Approves, and confirms the target.
    pub(super) grace: Api,
    pub(super) alertmanager: Api,
    pub(super) http: reqwest::Client,
    pub(super) roles: Process,
    pub(super) orchestrator: Process,
    pub(super) postgres: Server,
    pub(super) tokens: Vec<(&'static str, String)>,
}

/// Sets the stage below a folder of this run.
pub(super) async fn set(demo: &Demo, screen: &mut Screen) -> anyhow::Result<Stage> {
    let home = home(demo)?;
    let dir = home.join("run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("clearing the last run")?;
    }
    std::fs::create_dir_all(&dir)?;
    screen.say(format!("folder {}", home.display()));
    let scene = Scene::set(demo, &dir, screen).await?;
    let postgres = Server::open(Settings::lasting(home.join("postgres")))
        .await
        .context("starting Postgres")?;
    let owner = database(&postgres).await?;
    screen.event("postgres: our own server, a fresh database, schema up to date");
    let (config, ports) = configure(&dir, &owner, scene.tool_dirs())?;
    let tokens = people(&owner).await?;
    let http = reqwest::Client::builder().build()?;
    let gateway_url = format!("http://127.0.0.1:{}", ports[0]);
    let orchestrator_url = format!("http://127.0.0.1:{}", ports[2]);
    let args = ["--role", "gateway", "--role", "tool-router"];
    let mut roles = Process::serve("gateway-and-router", &dir, &config, &gateway_url, &args)?;
    let mut orchestrator = Process::serve(
        "orchestrator",
        &dir,
        &config,
        &orchestrator_url,
        &["--role", "orchestrator"],
    )?;
    roles.ready(&http).await?;
    orchestrator.ready(&http).await?;
    screen.event("carapulse: gateway and tool-router in one process, the orchestrator in another");
    let api = |index: usize| Api::new(&http, &gateway_url, &tokens[index].1);
    let mut stage = Stage {
        ada: api(0),
        grace: api(1),
        alertmanager: api(2),
        trust: trust(&config, &owner).await?,
        dir,
        config,
        gateway_url,
        orchestrator_url,
        scene,
        http,
        roles,
        orchestrator,
        postgres,
        tokens,
    };
    register(&stage).await?;
    screen.event(format!(
        "target `{}`: proposed by ada, confirmed by grace, mode act",
        stage.scene.target_name()
    ));
    stage.scene.break_it(screen).await?;
    Ok(stage)
}

fn home(demo: &Demo) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &demo.dir {
        return Ok(std::path::absolute(dir)?);
    }
    if nix::unistd::geteuid().is_root() {
        // Postgres runs as another user then, who must be able to reach the folder.
        return Ok(PathBuf::from("/var/lib/carapulse/demo"));
    }
    Ok(crate::config::cache_dir()
        .context("no home folder: give one with --dir")?
        .join("demo"))
}

async fn database(postgres: &Server) -> anyhow::Result<crate::store::Address> {
    let address = postgres.start_over().await?;
    let mut migrator = Migrator::connect(&address, Options::default()).await?;
    migrator.up().await?;
    migrator.close().await?;
    Ok(address)
}

/// Writes the configuration of this run: every role on a free port of the loopback address.
fn configure(
    dir: &Path,
    owner: &crate::store::Address,
    tool_dirs: &[PathBuf],
) -> anyhow::Result<(PathBuf, [u16; 3])> {
    let ports = [free_port()?, free_port()?, free_port()?];
    let address = |role: DbRole| owner.with_user(role.name(), None).expose().to_owned();
    let text = format!(
        "data_dir = {data:?}\n\n[log]\nlevel = \"info\"\n\n[database.gateway]\nurl = {gateway:?}\n\n\
         [database.orchestrator]\nurl = {orchestrator:?}\n\n[database.tool_router]\nurl = {router:?}\n\n\
         [database.sequencer]\nurl = {sequencer:?}\n\n[gateway]\nhttp_addr = \"127.0.0.1:{}\"\n\n\
         [tool_router]\nhttp_addr = \"127.0.0.1:{}\"\nbase_url = \"http://127.0.0.1:{}\"\ntool_dirs = {tool_dirs:?}\n\n\
         [orchestrator]\nhealth_addr = \"127.0.0.1:{}\"\nlease_secs = 2\n\n\
         [orchestrator.verification]\nsettle_secs = 1\nwindow_secs = 4\ninterval_secs = 1\nmin_samples = 2\n",
        ports[0],
        ports[1],
        ports[1],
        ports[2],
        data = dir.join("data"),
        gateway = address(DbRole::Gateway),
        orchestrator = address(DbRole::Orchestrator),
        router = address(DbRole::Router),
        sequencer = address(DbRole::Sequencer),
    );
    let path = dir.join("carapulse.toml");
    std::fs::write(&path, text)?;
    let config = load(&path)?;
    config.secrets().make_missing()?;
    Ok((path, ports))
}

fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(Config::load(&Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    })?)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Two people and a webhook source, made as an operator would with `carapulse token create`.
async fn people(owner: &crate::store::Address) -> anyhow::Result<Vec<(&'static str, String)>> {
    let db = Db::open(&owner.with_user(DbRole::Gateway.name(), None), DbRole::Gateway, 1).await?;
    let tenant: TenantId = "default".parse()?;
    let ctx = OpCtx::new(Actor::system("demo"), tenant.clone(), "demo");
    let wanted = [
        ("ada", Role::Admin, Holder::Person("Ada".to_owned())),
        ("grace", Role::Admin, Holder::Person("Grace".to_owned())),
        (
            "alertmanager",
            Role::Source,
            Holder::Source("alertmanager".to_owned()),
        ),
    ];
    let mut tokens = Vec::new();
    for (name, role, holder) in wanted {
        let mut tx = db.begin(&tenant).await?;
        let new = NewToken {
            actor: name.to_owned(),
            role,
            holder,
            ttl_secs: Some(24 * 3600),
        };
        let (_, text) = identity::create(&mut tx, &ctx, &new).await?;
        tx.commit().await?;
        tokens.push((name, text));
    }
    db.close().await;
    Ok(tokens)
}

/// The public keys of this installation: in real life they reach an auditor another way than the evidence.
async fn trust(config: &Path, owner: &crate::store::Address) -> anyhow::Result<Trust> {
    let db = Db::open(&owner.with_user(DbRole::Gateway.name(), None), DbRole::Gateway, 1).await?;
    let trust = crate::roles::trust(&load(config)?, &db).await?;
    db.close().await;
    Ok(trust)
}

/// The place where the story happens, through the API, by two persons. Every target starts in `observe`.
async fn register(stage: &Stage) -> anyhow::Result<()> {
    let confirm = format!("/v1/targets/{}:confirm", stage.scene.target_name());
    for mode in ["observe", "act"] {
        stage.ada.post("/v1/targets", &stage.scene.target(mode)).await?;
        stage.grace.post(&confirm, &json!({})).await?;
    }
    Ok(())
}
