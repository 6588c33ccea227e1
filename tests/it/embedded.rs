//! Our own Postgres: one owner, adopted after a kill, gone after a stop.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use carapulse::store::{
    DbRole,
    embedded::{Error, Server, Settings},
};
use sqlx::{Connection, PgConnection};

/// A folder that Postgres' own user can get into; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("carapulse-it-{}", uuid::Uuid::new_v4().simple())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn postmaster(folder: &Path) -> Option<String> {
    let file = std::fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    file.lines().next().map(str::to_owned)
}

fn run(folder: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args(["postgres", "run", "--data"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .next()
        .unwrap()
        .unwrap();
    assert!(
        line.starts_with("DATABASE_URL=postgres://carapulse_owner@"),
        "{line}"
    );
    child
}

#[tokio::test]
async fn a_server_has_one_owner_outlives_a_kill_is_adopted_and_stops() {
    let folder = Folder::new();
    let mut first = run(&folder.0);
    let pid = postmaster(&folder.0).unwrap();
    let settings = Settings::lasting(&folder.0);
    let refused = Server::start(settings.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::InUse { pid, .. } if *pid == first.id().to_string()),
        "{refused}"
    );
    let borrowed = Server::open(settings.clone()).await.unwrap();
    assert!(borrowed.is_foreign());
    borrowed.stop().await.unwrap();
    assert_eq!(
        postmaster(&folder.0).as_ref(),
        Some(&pid),
        "a borrowed server is left running"
    );

    first.kill().unwrap();
    first.wait().unwrap();
    let adopted = Server::start(settings).await.unwrap();
    assert!(!adopted.is_foreign());
    assert_eq!(postmaster(&folder.0).as_ref(), Some(&pid), "the same server");
    let mut owner = PgConnection::connect(adopted.address(DbRole::Owner).expose())
        .await
        .unwrap();
    let (tcp, collation): (String, String) = sqlx::query_as(
        "SELECT current_setting('listen_addresses'), datcollate FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(tcp, "", "a socket is the only way in");
    assert!(["C", "C.UTF-8"].contains(&collation.as_str()), "{collation}");
    owner.close().await.unwrap();
    adopted.stop().await.unwrap();
    assert_eq!(postmaster(&folder.0), None);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn the_runner_for_tests_ends_with_its_standard_input() {
    let folder = Folder::new();
    let mut child = run(&folder.0);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(postmaster(&folder.0), None);
}
