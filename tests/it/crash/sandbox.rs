//! The processes of the sandbox, killed while they run: what they did counts once, or is known not to have been done.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

use super::{Case, Cast, WITHIN, outcome};
use crate::world::{ENDS, World};

/// The supervisor of a job, the first process of its namespace, and the stage that becomes a command.
const STAGES: [&str; 3] = ["sandbox-child", "sandbox-init", "sandbox-exec"];
/// Of each, the first, the second, … that is seen while the plan runs is killed.
const NTH: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_7_a_killed_sandbox_leaves_an_act_done_once_or_known_not_to_be_done() {
    for stage in STAGES {
        for nth in 1..=NTH {
            println!("{stage} number {nth}: {}", play(stage, nth).await);
        }
    }
}

async fn play(stage: &'static str, nth: usize) -> String {
    let name = format!("{stage} number {nth}");
    let world = World::new().await;
    let case = Case {
        name: name.clone(),
        helps: true,
        deaths: Vec::new(),
    };
    let mut cast = Cast::new(&world, &case);
    cast.enter("gateway").await;
    cast.enter("tool-router").await;
    world.register().await;
    let plan = world.approved_plan(true).await;
    let router = cast.pid_of("tool-router");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let hunter = tokio::task::spawn_blocking(move || hunt(router, stage, nth, stopped));
    let execution = world.execute(&plan).await.unwrap();
    cast.enter("orchestrator").await;
    let deadline = Instant::now() + WITHIN;
    let status = loop {
        let status = world.status(&execution).await.unwrap_or_default();
        if ENDS.contains(&status.as_str()) {
            break status;
        }
        assert!(Instant::now() < deadline, "{name}: {status}\n{}", cast.tails());
        sleep(Duration::from_millis(100)).await;
    };
    drop(stop);
    let killed = hunter.await.unwrap();
    cast.everybody_lives();
    let effects = (
        world.story.marked(&execution, "forward"),
        world.story.marked(&execution, "rollback"),
    );
    let expected = match status.as_str() {
        "succeeded" => (1, 0),
        "failed" => (0, 0),
        "rolled_back" => (1, 1),
        other => panic!("{name}: the execution is {other}\n{}", cast.tails()),
    };
    assert_eq!(effects, expected, "{name}: {status}");
    assert_eq!(
        world.story.added(),
        effects.0 + effects.1,
        "{name}: commits without our mark"
    );
    outcome::journal(&world, &name).await;
    outcome::nothing_is_held(&world, &name).await;
    format!(
        "{status}, {effects:?}{}",
        if killed { "" } else { " (there were not so many)" }
    )
}

/// Kills the `nth` process of that stage below the router; false when there were fewer.
fn hunt(router: i32, stage: &str, nth: usize, mut stopped: tokio::sync::oneshot::Receiver<()>) -> bool {
    let mut seen = Vec::new();
    while matches!(
        stopped.try_recv(),
        Err(tokio::sync::oneshot::error::TryRecvError::Empty)
    ) {
        for pid in processes(stage) {
            if !seen.contains(&pid) && below(pid, router) {
                seen.push(pid);
                if seen.len() == nth {
                    return kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
                }
            }
        }
        std::thread::yield_now();
    }
    false
}

fn processes(stage: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg == stage.as_bytes())
    };
    pids.filter(is).collect()
}

/// Whether `router` is a parent, grandparent, … of `pid`.
fn below(pid: i32, router: i32) -> bool {
    let mut at = pid;
    for _ in 0..6 {
        let stat = fs::read_to_string(format!("/proc/{at}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything.
        let Some(parent) = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok())
        else {
            return false;
        };
        if parent == router {
            return true;
        }
        at = parent;
    }
    false
}
