//! What running a job gives.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use carapulse::sandbox::{self, Error, Exit, LocalConfig, Mount, Profile, Runner};

use crate::{PROFILES, config, file, job, one, run, runner};

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
    if nix::unistd::geteuid().is_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut asked = job(&[&["true"]]);
        asked.mounts.push(Mount {
            path: folder.path().to_owned(),
            writable: true,
        });
        let refused = Runner::local(config(Profile::Pod))
            .run(asked)
            .await
            .expect_err("refused");
        assert!(
            matches!(&refused, Error::Refused { layer, .. } if layer.starts_with("pod.")),
            "{refused}"
        );
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
