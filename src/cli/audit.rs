//! `carapulse audit verify`: a bundle with no server at hand, or the whole log in a database. Keys come from `--trust` only;
//! `carapulse audit trust` prints them where the keys of an installation are.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Exit, Failure};
use crate::{
    audit::{
        Trust,
        bundle::{MAX_TOTAL_BYTES, Report, verify_bundle},
        verify::{LogReport, verify_log},
    },
    config::Config,
    roles::{self, database},
    store::{Db, DbRole},
};

/// Largest note that is read from a folder of checkpoints.
const MAX_NOTE_BYTES: u64 = 64 * 1024;

/// Subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove an evidence bundle, or the whole log in a database
    Verify(Verify),
    /// Print the public keys of this installation, as `verify --trust` reads them: where the orchestrator's configuration is
    Trust,
    /// Pages of the log, newest first, over HTTP
    List(Box<super::client::AuditList>),
}

/// `carapulse audit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// An evidence bundle (a tar)
    #[arg(long, value_name = "FILE", required_unless_present = "dsn", conflicts_with_all = ["dsn", "checkpoints"])]
    bundle: Option<PathBuf>,
    /// The database whose log is recomputed (the gateway's role)
    #[arg(long, value_name = "ADDRESS")]
    dsn: Option<String>,
    /// A folder of published checkpoints that the log must agree with
    #[arg(long, value_name = "DIR", requires = "dsn")]
    checkpoints: Option<PathBuf>,
    /// The keys that are believed; got another way than what is verified
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the trust file. It goes to an auditor another way than what it verifies.
pub(super) async fn trust(config: &Config) -> anyhow::Result<()> {
    let borrowed = database::borrow(config, DbRole::Orchestrator).await?;
    let borrowed = borrowed.ok_or_else(|| Failure::of(Exit::Usage, database::none_yet(config)))?;
    let db = Db::open(&borrowed.address, DbRole::Orchestrator, 1).await?;
    let trust = roles::trust(config, &db).await;
    db.close().await;
    borrowed.give_back().await?;
    Ok(std::io::stdout().write_all(trust?.to_text().as_bytes())?)
}

/// Runs it. Anything that cannot be proven ends with exit code 1.
pub(super) async fn run(command: &Command) -> anyhow::Result<Exit> {
    let Command::Verify(verify) = command else {
        return Err(Failure::of(Exit::Usage, "only `audit verify` is run here"));
    };
    let trust = std::fs::read_to_string(&verify.trust)
        .with_context(|| format!("reading {}", verify.trust.display()))?;
    let trust = Trust::parse(&trust).map_err(|error| Failure::of(Exit::Config, error.to_string()))?;
    let passed = match (&verify.bundle, &verify.dsn) {
        (Some(path), _) => {
            let report = verify_bundle(&read_capped(path, MAX_TOTAL_BYTES + MAX_TOTAL_BYTES / 8)?, &trust);
            print(verify.json, &report, || bundle_lines(&report))?;
            report.passed()
        }
        (None, Some(dsn)) => {
            let db = Db::connect(dsn, DbRole::Gateway, 1).await?;
            let published = verify
                .checkpoints
                .as_deref()
                .map(notes_under)
                .transpose()?
                .unwrap_or_default();
            let report = verify_log(&db, &trust.checkpoint_keys, &published).await?;
            print(verify.json, &report, || log_lines(&report))?;
            report.passed()
        }
        (None, None) => return Err(Failure::of(Exit::Usage, "--bundle or --dsn is needed")),
    };
    Ok(if passed { Exit::Ok } else { Exit::Failed })
}

fn print<T: serde::Serialize>(json: bool, report: &T, lines: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(report)? + "\n"
    } else {
        lines()
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn bundle_lines(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let word = if check.passed { "ok" } else { "FAILED" };
        text += &format!("{word:<7} {:<13} {}\n", check.name, check.detail);
    }
    text += if report.passed() {
        "the bundle is proven\n"
    } else {
        "the bundle is NOT proven\n"
    };
    text
}

fn log_lines(report: &LogReport) -> String {
    match &report.fault {
        None => format!(
            "{} events recomputed, root {}\n{} checkpoints agree, the newest signs {} events\nthe log is proven\n",
            report.size, report.root, report.checkpoints, report.signed_size
        ),
        Some(fault) => format!(
            "FAILED at position {}: {} ({})\nthe log is NOT proven beyond there\n",
            fault.position, fault.message, fault.code
        ),
    }
}

/// Every file under `folder`, two levels deep at most: `GENERATION/SIZE`.
fn notes_under(folder: &std::path::Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut notes = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < 2 {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                notes.push(read_capped(&entry.path(), MAX_NOTE_BYTES)?);
            }
        }
    }
    Ok(notes)
}

fn read_capped(path: &std::path::Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let context = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path).with_context(context)?.take(limit + 1);
    file.read_to_end(&mut bytes).with_context(context)?;
    anyhow::ensure!(
        u64::try_from(bytes.len())? <= limit,
        "{} is larger than {limit} bytes",
        path.display()
    );
    Ok(bytes)
}
