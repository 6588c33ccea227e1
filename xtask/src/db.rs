//! `cargo xtask db prepare`: writes `.sqlx`, what the compile-time checked queries know of the database. (`lint` is in
//! `squawk.rs`.)
//!
//! In: a migrated Postgres. That is `DATABASE_URL` when set, else one that `carapulse postgres run` keeps for as
//! long as this runs. Out: `.sqlx`, replaced as a whole and only when every query was checked; on an error the
//! old one stays.
//! The knot: the program that brings the database is itself built against `.sqlx`. When that build fails because
//! `.sqlx` is behind, a program built earlier starts the database, and psql applies the migration files.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cli::DbCommand;
use crate::report::{capture, run as run_command, say, step};
use crate::{squawk, tools, workspace};

/// The first start of an own Postgres may fetch and initialise it.
const START: Duration = Duration::from_secs(300);

const WAY_OUT: &str = "the program does not build from the .sqlx that is there, and no earlier build of it exists to \
    start a database with.\nGive an empty Postgres instead (psql must be on PATH; it gets the migrations):\n    \
    DATABASE_URL=postgres://… cargo xtask db prepare";

/// Runs `xtask db …`.
pub fn run(command: &DbCommand) -> Result<()> {
    match command {
        DbCommand::Prepare => prepare(),
        DbCommand::Lint => squawk::run(),
    }
}

fn prepare() -> Result<()> {
    let program = Program::build()?;
    let given = env::var_os("DATABASE_URL").map(|url| url.to_string_lossy().into_owned());
    let own = match (&given, program.path()) {
        (Some(_), _) => None,
        (None, Some(path)) => Some(step("starting a database", || OwnPostgres::start(path))?),
        (None, None) => bail!("{WAY_OUT}"),
    };
    let url = given
        .or(own.as_ref().map(|own| own.url.clone()))
        .context("a database was given or started")?;
    step("migrating", || migrate(&program, &url))?;
    let fresh = workspace::path(".sqlx.new");
    let written = step("checking every query", || write_cache(&url, &fresh));
    let replaced = written.and_then(|()| replace(&fresh));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    replaced
}

/// The product's binary, which lies beside this one.
enum Program {
    Current(PathBuf),
    /// `.sqlx` is behind the code: this is an earlier build.
    Earlier(PathBuf),
    Missing,
}

impl Program {
    fn build() -> Result<Self> {
        let path = env::current_exe()?.with_file_name("carapulse");
        let build = ["build", "--package=carapulse", "--bin=carapulse"];
        match step("building carapulse from the .sqlx that is there", || {
            run_command(&mut workspace::cargo(&build))
        }) {
            Ok(()) => Ok(Self::Current(path)),
            Err(_) if path.is_file() => {
                say("it does not build; an earlier build starts the database and psql applies migrations/up");
                Ok(Self::Earlier(path))
            }
            Err(_) => Ok(Self::Missing),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Current(path) | Self::Earlier(path) => Some(path),
            Self::Missing => None,
        }
    }
}

fn migrate(program: &Program, url: &str) -> Result<()> {
    if let Program::Current(path) = program {
        return run_command(Command::new(path).args(["migrate", "up", "--dsn", url]));
    }
    if tools::on_path("psql").is_none() {
        bail!("psql is not on PATH, and it must apply migrations/up, as the program does not build");
    }
    for file in migrations("up")? {
        let mut psql = Command::new("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            url,
            "--file",
        ]);
        capture(psql.arg(&file)).with_context(|| format!("{} (is the database empty?)", file.display()))?;
    }
    Ok(())
}

/// `V<n>__….sql` of `migrations/up` or `migrations/down`, by their number.
pub fn migrations(direction: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace::path("migrations").join(direction);
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "sql"));
    files.sort_by_key(|path| number(path));
    Ok(files)
}

fn number(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits: String = name
        .trim_start_matches('V')
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or(u32::MAX)
}

/// Compiles everything that has queries with the database at hand; each query writes its file into `folder`.
fn write_cache(url: &str, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder)?;
    let e2e = workspace::path("tests/e2e/main.rs");
    for root in [
        workspace::path("src/lib.rs"),
        workspace::path("tests/it/main.rs"),
        e2e.clone(),
    ] {
        touch(&root)?;
    }
    let mut check = workspace::cargo(&["check", "--package=carapulse", "--all-targets"]);
    if e2e.is_file() {
        check.arg("--test=e2e");
    }
    check
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", folder)
        .env("DATABASE_URL", url);
    run_command(&mut check)
}

/// Cargo compiles again what is newer than its output; queries are checked only while their crate compiles.
fn touch(file: &Path) -> Result<()> {
    match fs::read(file) {
        Ok(bytes) => Ok(fs::write(file, bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn replace(fresh: &Path) -> Result<()> {
    let target = workspace::path(".sqlx");
    let count = fresh.read_dir()?.count();
    if count == 0 {
        bail!("no query was checked: .sqlx stays as it is");
    }
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    fs::rename(fresh, &target)?;
    say(&format!(".sqlx: {count} queries"));
    Ok(())
}

/// A Postgres that ends with this: `carapulse postgres run` stops when its standard input closes.
struct OwnPostgres {
    child: Child,
    url: String,
}

impl OwnPostgres {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["postgres", "run"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut own = Self {
            child,
            url: String::new(),
        };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // Read on to the end, so that the server never waits for somebody to listen.
            for url in lines.filter_map(|line| line.strip_prefix("DATABASE_URL=").map(str::to_owned)) {
                let _ = sender.send(url);
            }
        });
        own.url = receiver
            .recv_timeout(START)
            .context("`carapulse postgres run` named no DATABASE_URL")?;
        Ok(own)
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            say(&format!(
                "`carapulse postgres run` could not be waited for: {error}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn migrations_are_ordered_by_number_not_by_letter() {
        let mut names = ["V10__j.sql", "V2__b.sql", "V1__a.sql"].map(PathBuf::from);
        names.sort_by_key(|path| number(path));
        assert_eq!(names, ["V1__a.sql", "V2__b.sql", "V10__j.sql"].map(PathBuf::from));
    }

    #[test]
    fn the_own_database_is_named_by_its_program_and_ends_with_its_input() {
        let program =
            script("echo starting; echo DATABASE_URL=postgres:///x; cat > /dev/null; touch \"$0.ended\"");
        let own = OwnPostgres::start(&program.1).expect("started");
        assert_eq!(own.url, "postgres:///x");
        drop(own);
        assert!(program.1.with_extension("ended").exists());
    }

    #[test]
    fn a_program_that_names_no_database_is_an_error() {
        let program = script("echo no; exit 1");
        let error = OwnPostgres::start(&program.1)
            .err()
            .expect("no address")
            .to_string();
        assert!(error.contains("named no DATABASE_URL"), "{error}");
    }

    fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("carapulse");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        (folder, path)
    }
}
