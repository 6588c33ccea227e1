//! How jobs end: nothing of them stays, whoever ends them.

use std::{
    fs,
    time::{Duration, Instant},
};

use carapulse::sandbox::{Error, Exit, LocalConfig, Profile, Runner};

use crate::{PROFILES, config, gone, job, processes_with, run};

#[tokio::test]
async fn a_setsid_child_does_not_outlive_the_job() {
    for (profile, seconds) in PROFILES.into_iter().zip(["86411.25", "86412.25"]) {
        let began = Instant::now();
        let outcome = run(
            profile,
            job(&[&["setsid", "--fork", "sleep", seconds], &["echo", "on"]]),
        )
        .await;
        assert!(outcome.succeeded(), "{outcome:?}");
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "the job does not wait for it"
        );
        assert!(gone(seconds), "{profile:?}: {:?}", processes_with(seconds));
    }
}

#[tokio::test]
async fn the_deadline_ends_a_job_and_all_of_it() {
    for (profile, seconds) in PROFILES.into_iter().zip(["86421.25", "86422.25"]) {
        let mut asked = job(&[&["echo", "before"], &["sleep", seconds], &["echo", "after"]]);
        asked.limits.timeout_secs = 1;
        let outcome = run(profile, asked).await;
        let exits: Vec<_> = outcome.commands.iter().map(|c| c.exit).collect();
        assert_eq!(exits, [Exit::Code(0), Exit::TimedOut], "{profile:?}: {outcome:?}");
        assert!(gone(seconds));
    }
}

#[tokio::test]
async fn limits_hold() {
    for profile in PROFILES {
        let mut asked = job(&[&["yes"]]);
        asked.limits.cpu_secs = 1;
        asked.limits.output_bytes = 1000;
        let outcome = run(profile, asked).await;
        let command = &outcome.commands[0];
        assert_eq!(command.exit, Exit::Signal(9), "{command:?}");
        assert!(command.truncated && command.stdout.len() == 1000);

        let mut asked = job(&[&["dd", "if=/dev/zero", "of=big", "bs=1M", "count=8"]]);
        asked.limits.file_bytes = 4 << 20;
        assert!(!run(profile, asked).await.succeeded());

        let mut asked = job(&[&["dd", "if=/dev/zero", "of=/dev/null", "bs=900M", "count=1"]]);
        asked.limits.memory_bytes = 512 << 20;
        assert!(!run(profile, asked).await.succeeded());
    }
    let mut asked = job(&[&["xargs", "-P", "40", "-n", "1", "sleep"]]);
    asked.commands[0].stdin = Some("0.5\n".repeat(40).into_bytes());
    asked.limits.processes = 10;
    let outcome = run(Profile::Ns, asked).await;
    assert!(
        outcome.commands[0].duration_ms > 2000,
        "xargs waits where it cannot fork; all at once take 0.5 s: {outcome:?}"
    );
}

#[tokio::test]
async fn a_full_sandbox_says_busy_and_a_nonce_runs_once_at_a_time() {
    let full = Runner::local(LocalConfig {
        max_jobs: 1,
        max_waiting: 0,
        ..config(Profile::Ns)
    });
    let first = job(&[&["sleep", "86431.25"]]);
    let id = first.nonce;
    let (running, again) = (full.clone(), job(&[&["true"]]));
    let mut same = job(&[&["true"]]);
    same.nonce = id;
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { running.run(first).await });
    while processes_with("86431.25").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(full.running(id).await.expect("local"));
    assert!(matches!(full.run(again).await, Err(Error::Busy)));
    let replayed = full.run(same).await.expect_err("runs already");
    assert!(matches!(replayed, Error::Replayed) && !replayed.nothing_started());
    task.shutdown().await;
    assert!(gone("86431.25"), "dropping the future ends the job");
    assert!(!full.running(id).await.expect("local"));
}

/// Runs the body in a process of its own and kills that with SIGKILL: the job must die with it.
#[test]
fn a_job_dies_with_its_supervisor() {
    const CALLER: &str = "SANDBOX_TEST_CALLER";
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(profile) = std::env::var_os(CALLER) {
        let profile = if profile == "ns" {
            Profile::Ns
        } else {
            Profile::Pod
        };
        let seconds = if profile == Profile::Ns {
            "86441.25"
        } else {
            "86442.25"
        };
        let ended = runtime.block_on(run(
            profile,
            job(&[&["setsid", "--fork", "--wait", "sleep", seconds]]),
        ));
        panic!("the job ended by itself: {ended:?}");
    }
    for (profile, seconds) in [("ns", "86441.25"), ("pod", "86442.25")] {
        for victim in ["caller", "supervisor"] {
            // Only the kernel can end what a killed subreaper leaves behind, and in a pod it does, with the pod.
            if (profile, victim) == ("pod", "supervisor") {
                continue;
            }
            let mut caller = std::process::Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "ending::a_job_dies_with_its_supervisor", "--nocapture"])
                .env(CALLER, profile)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("starts");
            let deadline = Instant::now() + Duration::from_secs(20);
            while processes_with(seconds).len() < 2 {
                assert!(Instant::now() < deadline, "the job never began");
                std::thread::yield_now();
            }
            if victim == "caller" {
                caller.kill().expect("kills");
            } else {
                let pids = fs::read_to_string(format!("/proc/{0}/task/{0}/children", caller.id()))
                    .unwrap_or_default();
                let supervisor = child_named("sandbox-child", caller.id())
                    .unwrap_or_else(|| panic!("no supervisor in {pids:?}"));
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(supervisor),
                    nix::sys::signal::Signal::SIGKILL,
                )
                .expect("kills");
            }
            assert!(gone(seconds), "{profile} {victim}: {:?}", processes_with(seconds));
            caller.wait().expect("ends");
        }
    }
}

fn child_named(needle: &str, parent: u32) -> Option<i32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent && String::from_utf8_lossy(&line).contains(needle)).then_some(pid)
    })
}
