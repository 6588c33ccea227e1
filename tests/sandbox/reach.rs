//! What a job can reach, and what it cannot.

use std::{collections::BTreeMap, fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use carapulse::sandbox::{Exit, Profile};

use crate::{PROFILES, file, http_server, job, one, run};

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
