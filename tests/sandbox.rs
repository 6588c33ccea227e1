//! The sandbox for real: this build's executable, the machine's kernel, the system's own programs. Every test runs in
//! both profiles, unless it is about one of them.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use carapulse::sandbox::{
    self, Command, Error, Exit, Job, JobFile, LocalConfig, Mount, Outcome, Profile, Runner,
};
use secrecy::SecretSlice;
use uuid::Uuid;

const PROFILES: [Profile; 2] = [Profile::Ns, Profile::Pod];

fn config(profile: Profile) -> LocalConfig {
    LocalConfig {
        executable: env!("CARGO_BIN_EXE_carapulse").into(),
        profile,
        ..LocalConfig::default()
    }
}

fn runner(profile: Profile) -> Runner {
    Runner::local(config(profile))
}

fn nonce() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

fn job(argvs: &[&[&str]]) -> Job {
    let mut job = Job::new(
        nonce(),
        argvs
            .iter()
            .map(|argv| Command::new(argv.iter().copied()))
            .collect(),
    );
    job.limits.timeout_secs = 20;
    job
}

fn file(path: &str, text: &str, secret: bool) -> JobFile {
    JobFile {
        path: path.to_owned(),
        contents: SecretSlice::from(text.as_bytes().to_vec()),
        secret,
    }
}

async fn run(profile: Profile, job: Job) -> Outcome {
    runner(profile)
        .run(job)
        .await
        .unwrap_or_else(|e| panic!("{profile:?}: {e}"))
}

/// Runs one command and returns its exit and its output.
async fn one(profile: Profile, argv: &[&str]) -> (Exit, String) {
    let outcome = run(profile, job(&[argv])).await;
    let command = &outcome.commands[0];
    (command.exit, format!("{}{}", command.stdout, command.stderr))
}

/// Processes of the machine whose command line holds `needle`.
fn processes_with(needle: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| {
            entry.file_name().to_str()?.parse::<i32>().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
    lines.filter(|line| line.contains(needle)).collect()
}

/// Waits until no process holds `needle` any more.
fn gone(needle: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_with(needle).is_empty() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[tokio::test]
async fn commands_run_in_order_until_the_first_that_fails() {
    for profile in PROFILES {
        let outcome = run(profile, job(&[&["echo", "one"], &["false"], &["echo", "three"]])).await;
        let exits: Vec<_> = outcome.commands.iter().map(|c| c.exit).collect();
        assert_eq!(exits, [Exit::Code(0), Exit::Code(1)], "{outcome:?}");
        assert_eq!(outcome.commands[0].stdout, "one\n");
        assert!(outcome.started && !outcome.succeeded());
        assert!(
            outcome.layers.iter().all(|layer| layer.active),
            "{:?}",
            outcome.layers
        );
    }
}

#[tokio::test]
async fn a_command_gets_its_stdin_and_its_files_and_shares_a_folder_with_the_next() {
    for profile in PROFILES {
        let mut asked = job(&[
            &["tee", "copy"],
            &["cat", "copy", "conf/a.yaml"],
            &["stat", "-c", "%a", "conf/a.yaml"],
        ]);
        asked.commands[0].stdin = Some(b"from stdin\n".to_vec());
        asked.files.push(file("conf/a.yaml", "dir: {{job_dir}}\n", false));
        let outcome = run(profile, asked).await;
        assert!(outcome.succeeded(), "{outcome:?}");
        let dir = outcome.commands[1]
            .stdout
            .strip_prefix("from stdin\ndir: ")
            .expect("both files")
            .trim()
            .to_owned();
        assert!(dir.ends_with("/work"), "{dir}");
        assert_eq!(outcome.commands[2].stdout, "600\n");
        assert!(!Path::new(&dir).exists(), "the folder is gone");
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_asked_for() {
    for profile in PROFILES {
        let mut asked = job(&[&["env", "-0"]]);
        asked.env = BTreeMap::from([("KUBECONFIG".to_owned(), "{{job_dir}}/kubeconfig".to_owned())]);
        let outcome = run(profile, asked).await;
        let names: Vec<_> = outcome.commands[0]
            .stdout
            .split('\0')
            .filter_map(|v| v.split_once('='))
            .map(|(n, _)| n)
            .collect();
        let known = ["HOME", "KUBECONFIG", "LANG", "PATH", "TMPDIR"];
        let unknown: Vec<_> = names
            .iter()
            .filter(|n| !known.contains(n) && !n.starts_with("GIT_"))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(known.iter().all(|n| names.contains(n)), "{names:?}");
    }
}

#[tokio::test]
async fn a_command_inherits_three_descriptors_and_no_privilege() {
    for profile in PROFILES {
        let (exit, fds) = one(profile, &["ls", "/dev/fd/"]).await;
        // In profile `pod` there is no /proc to look into, which is the point.
        assert!(
            if profile == Profile::Ns {
                fds.contains('3') || exit != Exit::Code(0)
            } else {
                exit != Exit::Code(0)
            },
            "{fds}"
        );
    }
    let (_, fds) = one(Profile::Ns, &["ls", "/proc/self/fd"]).await;
    assert_eq!(fds, "0\n1\n2\n3\n", "3 is the listing's own");
    let (_, status) = one(
        Profile::Ns,
        &[
            "grep",
            "-E",
            "^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp|Uid)",
            "/proc/self/status",
        ],
    )
    .await;
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Uid:\t1000",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
}

#[tokio::test]
async fn a_job_cannot_read_outside_its_folder() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let readable = outside.path().join("readable");
    fs::write(&readable, "of another job").expect("writes");
    for profile in PROFILES {
        for path in [
            "/etc/shadow",
            "/etc/hostname",
            "/root",
            "/var",
            "/proc/1/environ",
            "/sys/kernel",
            readable.to_str().expect("UTF-8"),
        ] {
            let (exit, text) = one(profile, &["cat", path]).await;
            assert_eq!(exit, Exit::Code(1), "{profile:?} {path}: {text}");
            assert!(!text.contains("of another job"));
        }
        let (exit, _) = one(profile, &["ls", outside.path().to_str().expect("UTF-8")]).await;
        assert_ne!(exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_job_cannot_write_outside_its_folder() {
    for profile in PROFILES {
        for path in ["/usr/bin/x", "/etc/x", "/x", "/dev/x", "/var/tmp/x"] {
            let (exit, text) = one(profile, &["touch", path]).await;
            assert_eq!(exit, Exit::Code(1), "{profile:?} {path}: {text}");
            assert!(!Path::new(path).exists());
        }
        let outcome = run(
            profile,
            job(&[
                &["cp", "/usr/bin/true", "mine"],
                &["chmod", "755", "mine"],
                &["./mine"],
            ]),
        )
        .await;
        assert_eq!(
            outcome.commands[2].exit,
            Exit::NotStarted,
            "what a job writes cannot be executed: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_job_cannot_open_a_network_connection() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    server.set_nonblocking(true).expect("nonblocking");
    let url = format!("http://{}/", server.local_addr().expect("an address"));
    for profile in PROFILES {
        let (exit, text) = one(profile, &["curl", "-sS", "--max-time", "5", &url]).await;
        assert_eq!(exit, Exit::Code(7), "{profile:?}: {text}");
        let (exit, _) = one(profile, &["git", "ls-remote", "https://93.184.216.34/x.git"]).await;
        assert_eq!(exit, Exit::Code(128));
        assert!(server.accept().is_err(), "{profile:?}: somebody connected");
    }
    let (_, devices) = one(Profile::Ns, &["cat", "/proc/net/dev"]).await;
    assert_eq!(devices.lines().count(), 3, "only loopback: {devices}");
}

#[tokio::test]
async fn a_job_reaches_what_its_egress_names_and_nothing_else() {
    let allowed = http_server("allowed");
    let forbidden = http_server("forbidden");
    for profile in PROFILES {
        let mut asked = job(&[
            &["cat", "conf"],
            &["curl", "-sS", "--noproxy", "", &format!("http://{allowed}/")],
            &[
                "curl",
                "-sS",
                "--noproxy",
                "",
                "--proxytunnel",
                &format!("http://{allowed}/"),
            ],
            &[
                "curl",
                "-sS",
                "--noproxy",
                "",
                "--fail",
                &format!("http://{forbidden}/"),
            ],
        ]);
        asked
            .files
            .push(file("conf", "proxy-url: {{egress_proxy}}\n", false));
        asked.egress = vec![allowed.parse().expect("host:port")];
        let outcome = run(profile, asked).await;
        let texts: Vec<_> = outcome.commands.iter().map(|c| c.stdout.as_str()).collect();
        assert!(
            texts[0].starts_with("proxy-url: http://127.0.0.1:"),
            "{outcome:?}"
        );
        assert_eq!(&texts[1..3], ["allowed", "allowed"], "{outcome:?}");
        assert_eq!(
            outcome.commands[3].exit,
            Exit::Code(22),
            "403 from the proxy: {outcome:?}"
        );
        let (exit, text) = one(
            profile,
            &[
                "curl",
                "-sS",
                "--max-time",
                "5",
                "--noproxy",
                "*",
                &format!("http://{allowed}/"),
            ],
        )
        .await;
        assert_eq!(exit, Exit::Code(7), "not around the proxy: {text}");
    }
}

/// Answers HTTP on a port of its own for as long as the tests run.
fn http_server(body: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let _ = connection.read(&mut buffer);
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

#[tokio::test]
async fn dangerous_system_calls_are_refused() {
    for profile in PROFILES {
        for argv in [
            &["unshare", "--user", "true"][..],
            &["unshare", "--mount", "true"],
            &["mount", "-t", "tmpfs", "none", "home"],
            &["nsenter", "-t", "1", "-m", "true"],
            &["dmesg"],
            &["chroot", ".", "true"],
        ] {
            let (exit, text) = one(profile, argv).await;
            assert!(
                matches!(exit, Exit::Code(1..=126)),
                "{profile:?} {argv:?}: {exit:?} {text}"
            );
        }
    }
}

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
async fn invariant_11_no_secret_leaves_the_supervisor() {
    for profile in PROFILES {
        let mut asked = job(&[
            &["cat", "kubeconfig", "token", "plain"],
            &["base64", "token"],
            &["cat", "/nonexistent-opensesame99"],
            &["echo", "x"],
        ]);
        asked.files.push(file(
            "kubeconfig",
            "users:\n- name: u\n  user:\n    token: opensesame99\n",
            true,
        ));
        asked.files.push(file("token", "hv-minted-value-1234\n", true));
        asked
            .files
            .push(file("plain", "AKIAIOSFODNN7EXAMPLE ordinary\n", false));
        asked.secrets.push("ordinary".to_owned().into());
        asked
            .env
            .insert("API_TOKEN".to_owned(), "from-the-env-77".to_owned());
        let outcome = run(profile, asked).await;
        let all = format!("{outcome:?}");
        for secret in [
            "opensesame99",
            "hv-minted-value-1234",
            "aHYtbWludGVkLXZhbHVlLTEyMzQ",
            "AKIA",
            "ordinary",
        ] {
            assert!(!all.contains(secret), "{profile:?}: {secret} in {all}");
        }
        assert!(outcome.commands[0].stdout.contains("name: u"), "{all}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_started() {
    for profile in PROFILES {
        let outcome = run(profile, job(&[&["no-such-program", "x"]])).await;
        assert_eq!(outcome.commands[0].exit, Exit::NotStarted);
        assert!(
            !outcome.started && outcome.commands[0].stderr.contains("no-such-program"),
            "{outcome:?}"
        );
        let (exit, _) = one(profile, &["env", "sh", "-c", "exit 125"]).await;
        assert_eq!(exit, Exit::Code(125), "a command's own 125 is its own");
    }
}

#[tokio::test]
async fn git_works_in_a_mounted_repository_and_runs_no_hook() {
    let folder = tempfile::tempdir().expect("a folder");
    let repo = folder.path().join("repo");
    let path = repo.to_str().expect("UTF-8");
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .args(args)
            .status()
            .expect("git");
        assert!(done.success(), "{args:?}");
    };
    git(&["init", "-q", "-b", "main", path]);
    let hook = repo.join(".git/hooks/pre-commit");
    fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("writes");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(repo.join("a"), "1\n").expect("writes");
    for profile in PROFILES {
        // Started by root, a job becomes the owner of its folder; root in profile `pod` is refused.
        if profile == Profile::Pod && nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&repo, Some(65534), Some(65534)).expect("chown");
            let all = std::process::Command::new("chown")
                .args(["-R", "nobody:nogroup", path])
                .status()
                .expect("chown");
            let open = fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755));
            assert!(all.success() && open.is_ok());
        }
        fs::write(repo.join("a"), format!("{profile:?}\n")).expect("writes");
        let identity = ["-c", "user.name=carapulse", "-c", "user.email=c@example.com"];
        let commit = [
            &["git", "-C", path][..],
            &identity,
            &["commit", "-q", "-m", "by a job"],
        ]
        .concat();
        let mut asked = job(&[
            &["git", "-C", path, "add", "a"],
            &commit,
            &["git", "-C", path, "log", "--oneline"],
        ]);
        asked.mounts.push(Mount {
            path: repo.clone(),
            writable: true,
        });
        let outcome = run(profile, asked).await;
        assert!(outcome.succeeded(), "{profile:?}: {outcome:?}");
        assert!(outcome.commands[2].stdout.contains("by a job"));

        let mut asked = job(&[
            &["git", "-C", path, "status", "--porcelain"],
            &["touch", &format!("{path}/b")],
        ]);
        asked.mounts.push(Mount {
            path: repo.clone(),
            writable: false,
        });
        let outcome = run(profile, asked).await;
        assert_eq!(outcome.commands[0].exit, Exit::Code(0), "{outcome:?}");
        assert_eq!(outcome.commands[1].exit, Exit::Code(1), "read-only: {outcome:?}");
    }
}

#[tokio::test]
async fn a_flag_layer_missing_refuses() {
    for profile in PROFILES {
        let missing = LocalConfig {
            cgroup_parent: Some("/no-such-cgroup".into()),
            ..config(profile)
        };
        let refused = Runner::local(missing)
            .run(job(&[&["true"]]))
            .await
            .expect_err("refused");
        assert!(
            matches!(&refused, Error::Refused { layer, remedy, .. } if layer == "cgroup" && !remedy.is_empty()),
            "{refused}"
        );
        assert!(refused.nothing_started());
    }
    let missing = LocalConfig {
        scratch_dir: "/no-such-folder".into(),
        ..config(Profile::Pod)
    };
    let refused = Runner::local(missing)
        .run(job(&[&["true"]]))
        .await
        .expect_err("refused");
    assert!(
        matches!(&refused, Error::Refused { layer, .. } if layer == "pod.scratch"),
        "{refused}"
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
    let task = tokio::spawn(async move { running.run(first).await });
    while processes_with("86431.25").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(full.running(id).await.expect("local"));
    assert!(matches!(full.run(again).await, Err(Error::Busy)));
    let replayed = full.run(same).await.expect_err("runs already");
    assert!(matches!(replayed, Error::Replayed) && !replayed.nothing_started());
    task.abort();
    let _ = task.await;
    assert!(gone("86431.25"), "dropping the future ends the job");
    assert!(!full.running(id).await.expect("local"));
}

/// Runs the body in a process of its own and kills that with SIGKILL: the job must die with it.
#[test]
fn a_job_dies_with_its_supervisor() {
    const CALLER: &str = "SANDBOX_TEST_CALLER";
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Ok(profile) = std::env::var(CALLER) {
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
                .args(["--exact", "a_job_dies_with_its_supervisor", "--nocapture"])
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

#[tokio::test]
async fn doctor_shows_each_layer() {
    let layers = sandbox::doctor(config(Profile::Auto)).await;
    for name in [
        "ns",
        "ns.user",
        "ns.landlock",
        "ns.seccomp",
        "pod",
        "pod.landlock",
        "rlimits",
        "cgroup",
    ] {
        let layer = layers
            .iter()
            .find(|layer| layer.name == name)
            .unwrap_or_else(|| panic!("{name} of {layers:#?}"));
        assert_eq!(layer.active, name != "cgroup", "{layer:?}");
    }
}

#[tokio::test]
async fn entering_is_quick() {
    for profile in PROFILES {
        let runner = runner(profile);
        let mut times = Vec::new();
        for _ in 0..10 {
            let began = Instant::now();
            assert!(runner.run(job(&[&["true"]])).await.expect("runs").succeeded());
            times.push(began.elapsed());
        }
        times.sort();
        println!(
            "{profile:?}: a whole job of `true`: median {:?}, slowest {:?}",
            times[5], times[9]
        );
        assert!(times[5] < Duration::from_secs(2), "{times:?}");
    }
}
