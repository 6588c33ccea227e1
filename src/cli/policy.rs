//! `carapulse policy export|manifest`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Subcommand;

use crate::{
    config::Config,
    policy::{Bundle, store as policies},
    roles::database,
    store::{Address, Db, DbRole},
};

/// Subcommands of `policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the active bundle into a folder, as OPA serves it: opa run --server --bundle DIR
    Export {
        /// Gets the rules and a manifest; rules that lie there and are not of the bundle are removed
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The bundle that this binary was built with, without asking a database
        #[arg(long)]
        builtin: bool,
    },
    /// Print the manifest of the bundle that this binary was built with
    #[command(hide = true)]
    Manifest,
}

pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Export { folder, builtin } => {
            let bundle = if *builtin {
                Bundle::builtin()
            } else {
                active(config).await?
            };
            write(folder, &bundle).with_context(|| folder.display().to_string())?;
            outln!("{} in {}", bundle.digest(), folder.display());
        }
        Command::Manifest => manifest(),
    }
    Ok(())
}

pub(super) fn manifest() {
    outln!("{}", Bundle::builtin().manifest());
}

/// The active bundle of the installation. Before its first start that is the builtin one, which the start will activate.
async fn active(config: &Config) -> anyhow::Result<Bundle> {
    let Some(borrowed) = database::borrow(config, DbRole::Gateway).await? else {
        return Ok(Bundle::builtin());
    };
    let bundle = active_at(&borrowed.address).await;
    borrowed.give_back().await?;
    bundle
}

async fn active_at(address: &Address) -> anyhow::Result<Bundle> {
    let db = Db::open(address, DbRole::Gateway, 1)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    let mut tx = db.begin_global().await?;
    let bundle = match policies::active(&mut tx).await? {
        Some(active) => policies::get(&mut tx, active.digest).await?,
        None => Bundle::builtin(),
    };
    tx.commit().await?;
    db.close().await;
    Ok(bundle)
}

/// Rules first, the manifest that names them last: a run that is cut off is never taken for the whole.
fn write(folder: &Path, bundle: &Bundle) -> io::Result<()> {
    let manifest = folder.join(".manifest");
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let wanted: BTreeSet<PathBuf> = bundle.files().map(|(path, _)| folder.join(path)).collect();
    remove_other_rules(&folder.join("policy"), &wanted)?;
    for (path, text) in bundle.files() {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    fs::write(manifest, bundle.manifest() + "\n")
}

fn remove_other_rules(folder: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_other_rules(&path, wanted)?;
        } else if path.extension().is_some_and(|ending| ending == "rego") && !wanted.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_folder_holds_exactly_the_bundle_after_every_export() {
        let folder = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let first = Bundle::new(BTreeMap::from([
            file("policy/a.rego", "package a"),
            file("policy/b.rego", "package b"),
        ]));
        write(folder.path(), &first.unwrap()).unwrap();
        fs::write(folder.path().join("policy/notes.txt"), "kept").unwrap();
        let second = Bundle::new(BTreeMap::from([file("policy/b.rego", "package b2")])).unwrap();
        write(folder.path(), &second).unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).ok();
        assert_eq!(read("policy/a.rego"), None);
        assert_eq!(read("policy/b.rego").as_deref(), Some("package b2"));
        assert_eq!(read("policy/notes.txt").as_deref(), Some("kept"));
        let manifest: serde_json::Value = serde_json::from_str(&read(".manifest").unwrap()).unwrap();
        assert_eq!(manifest["revision"], second.digest().to_string());
    }
}
