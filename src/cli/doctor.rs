//! `carapulse doctor`: whether this machine and this configuration can do the work, a line a thing.

use crate::{
    cli::{Exit, Failure},
    config::{Config, Database, Objects, Policy, SandboxChoice, ToolRouter},
    domain::{Digest, SystemClock, WriteGate, WritesRefused},
    policy::{Bundle, store as policies},
    roles::database::{self, ServerInUse},
    sandbox::{self, LayerState, LocalConfig},
    store::{Address, Db, DbRole, migrate},
};

/// What was found about one thing.
enum Finding {
    Ok(String),
    Warning(String),
    Failed(String),
}

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut failures = 0;
    let mut tell = |what: &str, finding: Finding| {
        let (word, text) = match finding {
            Finding::Ok(text) => ("ok", text),
            Finding::Warning(text) => ("warning", text),
            Finding::Failed(text) => {
                failures += 1;
                ("FAILED", text)
            }
        };
        outln!("{word:<8} {what:<12} {text}");
    };
    match config.document() {
        Ok(_) => tell("config", Finding::Ok("every section is right".to_owned())),
        Err(error) => tell("config", Finding::Failed(error.to_string())),
    }
    for warning in super::config::warnings(config) {
        tell("config", Finding::Warning(warning));
    }
    let active = check_database(config, &mut tell).await;
    tell("objects", check_objects(config).await);
    check_sandbox(config, &mut tell).await;
    if let Some(finding) = check_shadow(config, active).await {
        tell("shadow", finding);
    }
    match failures {
        0 => Ok(()),
        1 => Err(Failure::of(Exit::Failed, "one check failed")),
        n => Err(Failure::of(Exit::Failed, format!("{n} checks failed"))),
    }
}

/// Answers with the active policy bundle, when there is one.
async fn check_database(config: &Config, tell: &mut impl FnMut(&str, Finding)) -> Option<Digest> {
    let found = match config.get::<Database>() {
        Ok(database) => database::configured(config, &database, DbRole::Gateway),
        Err(_) => return None,
    };
    match found {
        Ok(Some(address)) => return look_into(&address, tell).await,
        Ok(None) if !database::own_exists(config) => {
            let text = format!(
                "our own, which `carapulse serve` makes in {}",
                config.data_dir().display()
            );
            tell("database", Finding::Ok(text));
        }
        Ok(None) => match database::borrow_own(config).await {
            Ok(ServerInUse { address, server }) => {
                let active = look_into(&address.with_user(DbRole::Gateway.name(), None), tell).await;
                if let Err(error) = server.stop().await {
                    tell("database", Finding::Warning(error.to_string()));
                }
                return active;
            }
            Err(error) => tell("database", Finding::Failed(format!("{error:#}"))),
        },
        Err(error) => tell("database", Finding::Failed(format!("{error:#}"))),
    }
    None
}

async fn look_into(address: &Address, tell: &mut impl FnMut(&str, Finding)) -> Option<Digest> {
    let db = match Db::open(address, DbRole::Gateway, 1).await {
        Ok(db) => db,
        Err(error) => {
            tell("database", Finding::Failed(format!("{address}: {error}")));
            return None;
        }
    };
    tell("database", Finding::Ok(address.to_string()));
    tell("schema", schema(&db).await);
    tell("clock", clock(&db).await);
    if db.is_read_only().await.unwrap_or(false) {
        tell("restore", Finding::Failed(WritesRefused::ReadOnly.to_string()));
    }
    // An unreadable pointer is what a schema that is behind looks like, which was told above.
    let active = active_bundle(&db).await.ok().flatten();
    db.close().await;
    active
}

async fn active_bundle(db: &Db) -> Result<Option<Digest>, policies::Error> {
    let mut tx = db.begin_global().await?;
    let active = policies::active(&mut tx).await?;
    tx.commit().await?;
    Ok(active.map(|active| active.digest))
}

async fn schema(db: &Db) -> Finding {
    match migrate::check(db).await {
        Ok(migrate::SchemaState::Current(version)) => Finding::Ok(format!("version {version}")),
        Ok(migrate::SchemaState::Ahead { applied, wanted }) => {
            Finding::Warning(format!("version {applied} is newer than this binary's {wanted}"))
        }
        Ok(migrate::SchemaState::Behind { applied, wanted }) => Finding::Failed(format!(
            "version {applied}, but {wanted} is needed: run `carapulse migrate up`"
        )),
        Err(error) => Finding::Failed(error.to_string()),
    }
}

async fn clock(db: &Db) -> Finding {
    let gate = WriteGate::default();
    match db.clock_skew_millis(&SystemClock).await {
        Ok(millis) => gate.set_skew(millis),
        Err(error) => return Finding::Failed(error.to_string()),
    }
    match gate.check_clock() {
        Ok(()) => Finding::Ok(format!("{} ms from the database's", gate.skew_millis())),
        Err(error) => Finding::Failed(error.to_string()),
    }
}

/// Whether OPA answers, and from the bundle that is active (before the first start: the one that will be). Decisions do
/// not need it, so that nothing here is a failure.
async fn check_shadow(config: &Config, active: Option<Digest>) -> Option<Finding> {
    let policy: Policy = config.get().ok()?;
    let (url, opa) = (policy.shadow_url.clone()?, policy.shadow().ok()??);
    let wanted = active.unwrap_or_else(|| Bundle::builtin().digest());
    Some(match opa.ask(b"{}").await {
        Err(error) => Finding::Warning(format!("{url}: {error}: decisions are not compared")),
        Ok(answer) if answer.revisions.contains(&wanted.to_string()) => {
            Finding::Ok(format!("{url} serves the active bundle {wanted}"))
        }
        Ok(answer) => {
            let served = if answer.revisions.is_empty() {
                "a bundle without a revision".to_owned()
            } else {
                answer.revisions.join(", ")
            };
            Finding::Warning(format!(
                "{url} serves {served}, but {wanted} is active: `carapulse policy export` writes that one"
            ))
        }
    })
}

/// The layers that actions would run in here. With the sandbox elsewhere, its own machine has to be asked.
async fn check_sandbox(config: &Config, tell: &mut impl FnMut(&str, Finding)) {
    match config.get::<ToolRouter>().map(|router| router.sandbox) {
        Ok(SandboxChoice::Local) => {}
        Ok(SandboxChoice::Remote { url, .. }) => {
            return tell("sandbox", Finding::Ok(format!("at {url}: run doctor there")));
        }
        Err(_) => return,
    }
    let layers = sandbox::doctor(LocalConfig::default()).await;
    let usable = |layer: &LayerState| layer.active && matches!(layer.name.as_str(), "ns" | "pod");
    let any = layers.iter().any(usable);
    for layer in layers {
        let text = format!("{}: {}", layer.name, layer.detail);
        tell(
            "sandbox",
            if layer.active {
                Finding::Ok(text)
            } else {
                Finding::Warning(text)
            },
        );
    }
    if !any {
        tell(
            "sandbox",
            Finding::Failed("no profile can be had: every action would be refused".to_owned()),
        );
    }
}

async fn check_objects(config: &Config) -> Finding {
    let probe = async {
        let objects: Objects = config.get().map_err(|error| error.to_string())?;
        let store = objects
            .open(config.data_dir())
            .map_err(|error| error.to_string())?;
        let digest = store
            .put(b"carapulse doctor")
            .await
            .map_err(|error| error.to_string())?;
        store
            .get(&digest)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    match probe.await {
        Ok(()) => Finding::Ok("written and read".to_owned()),
        Err::<(), String>(error) => Finding::Failed(error),
    }
}
