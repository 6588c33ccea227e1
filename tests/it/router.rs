//! The router for real: git in the sandbox on a repository of this machine, rows in Postgres, a crash in the middle.

mod http;
mod look;

use std::{path::Path, process::Command, sync::Arc};

use carapulse::{
    domain::{
        OpCtx,
        plan::Args,
        run::{ActRef, ActReport, AttemptStatus, Direction, ProbeReport},
    },
    tools::{ClientError, ReadError, Router},
};
use serde_json::{Value, json};

use crate::approved::{Approved, COMMIT, head_is, revert, router};

/// A bare repository whose last commit broke `app.conf`, and the world around it.
struct World {
    folder: tempfile::TempDir,
    it: Approved,
    router: Arc<Router>,
    good: String,
    bad: String,
}

fn git(at: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=dev",
            "-c",
            "user.email=dev@localhost",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(at)
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut carapulse::domain::plan::Step)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let at = folder.path().canonicalize().expect("path");
        git(&at, &["init", "--quiet", "seed"]);
        let seed = at.join("seed");
        let commit = |text: &str| {
            std::fs::write(seed.join("app.conf"), text).expect("write");
            git(&seed, &["add", "--all"]);
            git(&seed, &["commit", "--quiet", "--message", text]);
            git(&seed, &["rev-parse", "HEAD"])
        };
        let good = commit("workers=8");
        let bad = commit("workers=0");
        git(&at, &["clone", "--quiet", "--bare", "seed", "shop.git"]);
        let url = at.join("shop.git").display().to_string();
        let it = Approved::new(&url, |catalog| {
            let mut step = revert(catalog, &bad, Some(&bad));
            change(&mut step);
            vec![step]
        })
        .await;
        let router = router(&it, &at);
        Self {
            folder,
            it,
            router,
            good,
            bad,
        }
    }

    fn at(&self, branch_file: &str) -> String {
        git(
            &self.folder.path().join("shop.git"),
            &["show", &format!("main:{branch_file}")],
        )
    }

    fn commits(&self) -> usize {
        git(
            &self.folder.path().join("shop.git"),
            &["rev-list", "--count", "main"],
        )
        .parse()
        .expect("count")
    }

    /// The changed document in place of the stored one, with its digest.
    async fn store_doc(&mut self) {
        let (bytes, digest) = self.it.doc.seal().expect("sealed");
        sqlx::query("UPDATE plan SET doc = $1, digest = $2")
            .bind(bytes)
            .bind(&digest.as_bytes()[..])
            .execute(&mut self.it.owner)
            .await
            .expect("plan");
    }

    async fn audit(&mut self, action: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_event WHERE action = $1")
            .bind(action)
            .fetch_one(&mut self.it.owner)
            .await
            .expect("count")
    }
}

#[tokio::test]
async fn invariant_7_a_revert_acts_once_is_recorded_and_its_inverse_restores_the_content() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    let report = world.router.act(&act).await.expect("report");
    assert_eq!(
        report,
        ActReport {
            status: AttemptStatus::Done,
            code: None,
            message: None,
            retryable: false
        }
    );
    assert_eq!((world.at("app.conf").as_str(), world.commits()), ("workers=8", 3));
    let message = git(
        &world.folder.path().join("shop.git"),
        &["log", "-1", "--format=%an%n%B", "main"],
    );
    assert!(
        message.starts_with("Carapulse\nRevert \"workers=0\""),
        "{message}"
    );
    assert!(
        message.contains(&format!("Carapulse-Execution: {}", act.execution_id)),
        "{message}"
    );
    assert!(message.contains("Carapulse-Attempt: 0/forward/1/"), "{message}");
    // The same name again: the stored report, and nothing else happens.
    assert_eq!(world.router.act(&act).await.expect("report"), report);
    assert_eq!(world.router.probe(&act).await.expect("probe"), ProbeReport::Done);
    assert_eq!(world.commits(), 3);
    let (prior, result): (Vec<u8>, Vec<u8>) = sqlx::query_as("SELECT prior, result FROM attempt")
        .fetch_one(&mut world.it.owner)
        .await
        .expect("attempt");
    let prior: Value = serde_json::from_slice(&prior).expect("JSON");
    assert_eq!(prior, json!({ "head": world.bad }));
    let result: Value = serde_json::from_slice(&result).expect("JSON");
    let head = git(&world.folder.path().join("shop.git"), &["rev-parse", "main"]);
    assert_eq!(result["values"], json!({ "head": head, "commit": head }));
    assert_eq!(world.audit("tool.ended").await, 1);

    world.it.end(&act, AttemptStatus::Done).await;
    world.it.turn_back().await;
    let back = world.it.intend(0, Direction::Rollback, 1).await;
    let report = world.router.act(&back).await.expect("report");
    assert_eq!(report.status, AttemptStatus::Done, "{report:?}");
    assert_eq!((world.at("app.conf").as_str(), world.commits()), ("workers=0", 4));
}

#[tokio::test]
async fn invariant_7_a_report_lost_in_a_crash_is_found_by_a_probe_and_never_acted_again() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    world.router.act(&act).await.expect("report");
    // As after a crash between the act and its record.
    world
        .it
        .sql("UPDATE attempt SET status = 'claimed', ended_at = NULL, result = NULL, alive_until = db_now() + interval '15 s'; DELETE FROM audit_event")
        .await;
    let other = router(&world.it, &world.folder.path().canonicalize().expect("path"));
    assert_eq!(other.act(&act).await, Err(ClientError::StillRunning));
    assert_eq!(
        other.probe(&act).await.expect("probe"),
        ProbeReport::Running,
        "its router may live"
    );
    world.it.db.advance(std::time::Duration::from_secs(30)).await;
    assert_eq!(other.probe(&act).await.expect("probe"), ProbeReport::Done);
    assert_eq!(
        other.probe(&act).await.expect("probe"),
        ProbeReport::Done,
        "stored"
    );
    assert_eq!(other.act(&act).await.expect("report").status, AttemptStatus::Done);
    assert_eq!((world.at("app.conf").as_str(), world.commits()), ("workers=8", 3));
    assert_eq!(world.audit("tool.ended").await, 1);
    let result: Vec<u8> = sqlx::query_scalar("SELECT result FROM attempt")
        .fetch_one(&mut world.it.owner)
        .await
        .expect("result");
    let result: Value = serde_json::from_slice(&result).expect("JSON");
    let head = git(&world.folder.path().join("shop.git"), &["rev-parse", "main"]);
    assert_eq!(
        result["values"]["commit"],
        json!(head),
        "what the inverse needs was found again"
    );
}

#[tokio::test]
async fn invariant_7_an_attempt_that_died_before_it_acted_is_not_done_and_the_next_one_acts() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    for prior in ["NULL".to_owned(), format!("'{{\"head\":\"{}\"}}'", world.bad)] {
        world.it.sql("DELETE FROM attempt").await;
        world
            .it
            .sql(&format!(
                "INSERT INTO attempt (execution_id, step, direction, attempt, tenant_id, epoch, status, nonce, router_id, claimed_at, alive_until, deadline_at, prior) \
                 VALUES ('{}', 0, 'forward', 1, 'default', 1, 'claimed', gen_random_uuid(), gen_random_uuid(), db_now(), db_now() - interval '1 minute', db_now(), {prior})",
                act.execution_id.uuid()
            ))
            .await;
        assert_eq!(
            world.router.probe(&act).await.expect("probe"),
            ProbeReport::NotDone,
            "{prior}"
        );
        assert_eq!(
            world.router.probe(&act).await.expect("probe"),
            ProbeReport::NotDone,
            "stored"
        );
    }
    world.it.probed(&act, ProbeReport::NotDone).await;
    let next = world.it.intend(0, Direction::Forward, 2).await;
    assert_eq!(
        world.router.act(&next).await.expect("report").status,
        AttemptStatus::Done
    );
    assert_eq!(world.commits(), 3);
}

#[tokio::test]
async fn invariant_7_a_mark_of_an_earlier_attempt_stops_the_next_one_from_acting_twice() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    world.router.act(&act).await.expect("report");
    // Somebody wrongly takes the first attempt for failed.
    world
        .it
        .sql("UPDATE attempt SET status = 'failed', error_code = 'not_done'")
        .await;
    world.it.probed(&act, ProbeReport::NotDone).await;
    let next = world.it.intend(0, Direction::Forward, 2).await;
    assert_eq!(
        world.router.act(&next).await.expect("report").status,
        AttemptStatus::Done
    );
    assert_eq!(world.commits(), 3, "no second revert");
}

#[tokio::test]
async fn a_probe_of_an_unclaimed_attempt_fences_off_older_leases() {
    let mut world = World::new().await;
    let old = world.it.intend(0, Direction::Forward, 1).await;
    world.it.sql("UPDATE execution SET epoch = 2").await;
    let new = ActRef {
        epoch: 2,
        ..old.clone()
    };
    assert_eq!(
        world.router.probe(&new).await.expect("probe"),
        ProbeReport::NotStarted
    );
    world.it.sql("UPDATE execution SET epoch = 1").await;
    let report = world.router.act(&old).await.expect("report");
    assert_eq!(
        (report.status, report.code.as_deref()),
        (AttemptStatus::Refused, Some("stale_epoch"))
    );
    assert_eq!(world.commits(), 2);
    world.it.sql("UPDATE execution SET epoch = 2").await;
    assert_eq!(
        world.router.act(&new).await.expect("report").status,
        AttemptStatus::Done
    );
    assert_eq!(world.audit("tool.refused").await, 1);
}

#[tokio::test]
async fn a_moved_branch_is_drift_and_nothing_is_pushed() {
    let mut world = World::new().await;
    let seed = world.folder.path().join("seed");
    std::fs::write(seed.join("other"), "x").expect("write");
    git(&seed, &["add", "--all"]);
    git(&seed, &["commit", "--quiet", "--message", "meanwhile"]);
    git(&seed, &["push", "--quiet", "../shop.git", "main"]);
    let act = world.it.intend(0, Direction::Forward, 1).await;
    let report = world.router.act(&act).await.expect("report");
    assert_eq!(
        (report.status, report.code.as_deref()),
        (AttemptStatus::Refused, Some("drifted")),
        "{report:?}"
    );
    assert_eq!(world.commits(), 3);
    assert_eq!(
        world.router.probe(&act).await.expect("probe"),
        ProbeReport::Failed
    );
    assert_eq!(world.audit("tool.refused").await, 1);
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_refuses() {
    let catalog = carapulse::tools::catalog::Catalog::builtin();
    let mut world = World::with(|step| step.preconditions.push(head_is(&catalog, COMMIT))).await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    let report = world.router.act(&act).await.expect("report");
    assert_eq!(
        (report.status, report.code.as_deref()),
        (AttemptStatus::Refused, Some("precondition"))
    );
    assert_eq!(world.commits(), 2);
}

#[tokio::test]
async fn a_revert_that_git_refuses_fails_without_effect_and_its_words_are_logged() {
    let mut world = World::with(|step| drop(step.args.insert("commit".into(), json!(COMMIT)))).await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    let report = world.router.act(&act).await.expect("report");
    assert_eq!(
        (report.status, report.code.as_deref()),
        (AttemptStatus::Failed, Some("exit_128")),
        "{report:?}"
    );
    assert_eq!(world.commits(), 2);
    let chunks: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM log_chunk WHERE object_digest IS NOT NULL AND level = 'error'",
    )
    .fetch_one(&mut world.it.owner)
    .await
    .expect("chunks");
    assert!(chunks >= 2, "{chunks}");
}

#[tokio::test]
async fn the_same_act_sent_twice_at_once_runs_once() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    let (first, second) = tokio::join!(world.router.act(&act), world.router.act(&act));
    let done =
        |r: &Result<ActReport, ClientError>| matches!(r, Ok(report) if report.status == AttemptStatus::Done);
    assert!(done(&first) || done(&second), "{first:?} {second:?}");
    for other in [first, second] {
        assert!(
            done(&other) || other == Err(ClientError::StillRunning),
            "{other:?}"
        );
    }
    assert_eq!(world.commits(), 3);
}

#[tokio::test]
async fn reads_answer_structured_values_and_refuse_writes_strange_arguments_and_foreign_targets() {
    let world = World::new().await;
    let (router, ctx, target) = (&world.router, &world.it.ctx, world.it.target.target_id);
    let args = |value: Value| serde_json::from_value::<Args>(value).expect("args");
    let head = router
        .read(ctx, target, "git", "head", &Args::new())
        .await
        .expect("head");
    assert_eq!(head.value[0]["commit"], json!(world.bad));
    let log = router
        .read(ctx, target, "git", "log", &Args::new())
        .await
        .expect("log");
    assert!(
        log.text
            .contains(&format!("commit {}\nparents {}", world.bad, world.good)),
        "{}",
        log.text
    );
    let file = args(json!({ "path": "app.conf", "revision": world.good }));
    assert_eq!(
        router
            .read(ctx, target, "git", "file", &file)
            .await
            .expect("file")
            .text,
        "workers=8"
    );
    let show = args(json!({ "commit": world.bad }));
    assert!(
        router
            .read(ctx, target, "git", "show", &show)
            .await
            .expect("show")
            .text
            .contains("-workers=8\n")
    );
    let ls = router
        .read(ctx, target, "git", "ls", &Args::new())
        .await
        .expect("ls");
    assert_eq!(ls.value, json!({ "text": "app.conf\n" }));
    let captured = router
        .capture(
            ctx,
            target,
            "git",
            "revert",
            &args(json!({ "commit": world.bad })),
        )
        .await;
    assert_eq!(captured.expect("captured")["head"], world.bad);

    let revert = args(json!({ "commit": world.bad }));
    assert_eq!(
        router.read(ctx, target, "git", "revert", &revert).await,
        Err(ReadError::NotARead)
    );
    assert!(matches!(
        router.read(ctx, target, "sh", "run", &Args::new()).await,
        Err(ReadError::UnknownAction(_))
    ));
    let flag = args(json!({ "path": "--output=/tmp/x" }));
    assert!(matches!(
        router.read(ctx, target, "git", "log", &flag).await,
        Err(ReadError::Arguments(_))
    ));
    let lacking = router
        .read(
            ctx,
            target,
            "kubectl",
            "get",
            &args(json!({ "resource": "pods" })),
        )
        .await;
    assert!(
        matches!(lacking, Err(ReadError::Failed { ref code, .. }) if code == "target_lacks"),
        "{lacking:?}"
    );
    let foreign = OpCtx::system("test", "other".parse().expect("tenant"));
    assert_eq!(
        router.read(&foreign, target, "git", "head", &Args::new()).await,
        Err(ReadError::UnknownTarget)
    );
}
