//! `carapulse restore begin|acknowledge|status`: going on after the database was restored from a backup (`docs/restore.md`).

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    approval,
    audit::restore,
    config::{Config, Database, resolve},
    domain::OpCtx,
    roles::database,
    store::{Address, Db, DbRole},
};

/// `carapulse restore`.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(subcommand)]
    command: Command,
    /// The owner's database: an address, or a reference to one (env:NAME, file:PATH). Default: the configured one, else
    /// our own
    #[arg(long, global = true, value_name = "REF")]
    dsn: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Refuse writes from now on: right after restoring, before any role is started
    Begin,
    /// A person has looked: begin a new generation, void unused approvals, take writes again
    Acknowledge(Acknowledge),
    /// Where the installation stands
    Status,
}

#[derive(Debug, Args)]
struct Acknowledge {
    /// Who has looked
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Which backup, and why; it goes into the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs it on the address that the command line names, else the configured one, else our own server.
pub(super) async fn run(restore: &Restore, config: &Config) -> anyhow::Result<()> {
    if let Some(address) = restore.address()? {
        return run_on(restore, &address).await;
    }
    let database: Database = config.get()?;
    if let Some(address) = database::configured(config, &database, DbRole::Owner)? {
        return run_on(restore, &address).await;
    }
    anyhow::ensure!(
        database::own_exists(config),
        "there is no database in {}",
        config.data_dir().display()
    );
    let own = database::borrow_own(config).await?;
    let result = run_on(restore, &own.address).await;
    own.server.stop().await?;
    result
}

async fn run_on(restore: &Restore, address: &Address) -> anyhow::Result<()> {
    let db = Db::open(address, DbRole::Owner, 1).await?;
    let done = match &restore.command {
        Command::Begin => begin(&db).await,
        Command::Acknowledge(given) => acknowledge(&db, given).await,
        Command::Status => Ok(()),
    };
    let told = match done {
        Ok(()) => tell(&db).await,
        Err(error) => Err(error),
    };
    db.close().await;
    told
}

async fn begin(db: &Db) -> anyhow::Result<()> {
    Ok(restore::refuse_writes(db).await?)
}

/// Each part is done again when a run before this one broke off; until the last one the installation stays read-only.
async fn acknowledge(db: &Db, given: &Acknowledge) -> anyhow::Result<()> {
    anyhow::ensure!(
        !given.by.trim().is_empty() && !given.reason.trim().is_empty(),
        "say who has looked, and why: --by NAME --reason TEXT"
    );
    let generation = restore::begin_generation(db).await?;
    let why = format!("the database was restored: {}", given.reason);
    let mut voided = 0;
    for tenant in restore::tenants(db).await? {
        let ctx = OpCtx::system("restore", tenant);
        let mut tx = db.begin(&ctx.tenant).await?;
        voided += approval::void_unconsumed(&mut tx, &ctx, &why)
            .await
            .with_context(|| format!("voiding the approvals of tenant {}", ctx.tenant))?;
        tx.commit().await?;
    }
    let ctx = OpCtx::system("restore", "default".parse()?);
    let details = json!({"by": given.by, "reason": given.reason, "voided_approvals": voided});
    restore::acknowledge(db, &ctx, generation, details).await?;
    outln!(
        "{voided} unused approvals are void; open executions wait for a person (`carapulse exec list --status needs_attention`)"
    );
    Ok(())
}

async fn tell(db: &Db) -> anyhow::Result<()> {
    let standing = restore::standing(db).await?;
    let writes = if standing.read_only {
        "refused until `carapulse restore acknowledge`"
    } else {
        "taken"
    };
    outln!("generation {}", standing.generation);
    outln!("writes     {writes}");
    outln!("log        {} events", standing.log_size);
    Ok(())
}

impl Restore {
    fn address(&self) -> anyhow::Result<Option<Address>> {
        let Some(dsn) = &self.dsn else { return Ok(None) };
        let text = match dsn.parse() {
            Ok(reference) => resolve(&reference)?.expose_secret().to_owned(),
            Err(_) => dsn.clone(),
        };
        Ok(Some(text.parse().context("--dsn")?))
    }
}
