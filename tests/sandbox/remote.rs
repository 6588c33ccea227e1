//! A sandbox role over HTTP: signed jobs, sealed secrets, signed answers.

use std::{path::PathBuf, sync::Arc};

use carapulse::{
    domain::{Clock, ManualClock},
    sandbox::{
        Error, Exit, LocalConfig, Profile, RemoteConfig, RemoteEgress, RemoteRunner, Runner, SealingKey,
        egress::EgressListener,
        server::{SandboxServer, ServerConfig, router},
    },
};
use ed25519_dalek::SigningKey;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{config, file, http_server, job};

struct Role {
    runner: Runner,
    clock: ManualClock,
    url: String,
    _server: JoinSet<()>,
}

/// Starts a role and a runner that talks to it, after `change` had its way with the runner's configuration.
async fn role(local: LocalConfig, change: impl FnOnce(&mut RemoteConfig)) -> Role {
    role_with_mounts(local, Vec::new(), change).await
}

/// As [`role`], with folders that its jobs may see.
async fn role_with_mounts(
    local: LocalConfig,
    mounts: Vec<PathBuf>,
    change: impl FnOnce(&mut RemoteConfig),
) -> Role {
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
    let (router_key, sandbox_key) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let sealing_key = SealingKey::from_seed(&[3; 32]).expect("a key");
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let mut remote = RemoteConfig {
        url: "http://127.0.0.1:1".parse().expect("a URL"),
        audience: "sandbox-1".to_owned(),
        signing_key: router_key.clone(),
        sandbox_key: sandbox_key.verifying_key(),
        sealing_key: sealing_key.public(),
        egress: None,
        clock: Arc::clone(&shared),
        client: reqwest::Client::builder().no_proxy().build().expect("a client"),
    };
    let server = SandboxServer::new(ServerConfig {
        audience: "sandbox-1".to_owned(),
        router_key: router_key.verifying_key(),
        signing_key: sandbox_key,
        sealing_key,
        local,
        mounts,
        clock: shared,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    remote.url = url.parse().expect("a URL");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router(server)).await.expect("serves") });
    change(&mut remote);
    Role {
        runner: Runner::Remote(Arc::new(RemoteRunner::new(remote))),
        clock,
        url,
        _server: tasks,
    }
}

#[tokio::test]
async fn a_remote_job_runs_like_a_local_one() {
    let role = role(config(Profile::Ns), |_| ()).await;
    let mut asked = job(&[&["cat", "token"], &["cat"], &["false"]]);
    asked.files.push(file("token", "opensesame99 and more\n", true));
    asked.commands[1].stdin = Some(b"e\xcc\x81 not NFC".to_vec());
    let nonce = asked.nonce;
    let outcome = role.runner.run(asked).await.expect("runs");
    assert_eq!(outcome.commands[0].stdout, "***\n");
    assert_eq!(outcome.commands[1].stdout, "e\u{301} not NFC");
    assert_eq!(outcome.commands[2].exit, Exit::Code(1));
    assert!(!role.runner.running(nonce).await.expect("answers"));
}

#[tokio::test]
async fn a_seen_nonce_a_wrong_audience_a_late_job_and_a_foreign_key_are_refused() {
    let role_ = role(config(Profile::Ns), |_| ()).await;
    let asked = job(&[&["true"]]);
    role_.runner.run(asked.clone()).await.expect("runs once");
    let replayed = role_.runner.run(asked).await.expect_err("seen");
    assert!(
        matches!(replayed, Error::Replayed) && !replayed.nothing_started(),
        "{replayed}"
    );
    role_.clock.advance(chrono::Duration::seconds(-1));
    let early = role_
        .runner
        .run(job(&[&["true"]]))
        .await
        .expect_err("issued before the role began");
    assert!(
        matches!(early, Error::Expired) && early.nothing_started(),
        "{early}"
    );

    let other = role(config(Profile::Ns), |remote| {
        remote.audience = "sandbox-2".to_owned();
    })
    .await;
    assert!(matches!(
        other.runner.run(job(&[&["true"]])).await,
        Err(Error::WrongAudience)
    ));
    let forged = role(config(Profile::Ns), |remote| {
        remote.signing_key = SigningKey::from_bytes(&[9; 32]);
    })
    .await;
    assert!(matches!(
        forged.runner.run(job(&[&["true"]])).await,
        Err(Error::BadSignature)
    ));
    let slow: Arc<dyn Clock> = Arc::new(ManualClock::new("2026-01-02T00:00:00Z".parse().expect("a time")));
    let late = role(config(Profile::Ns), |remote| remote.clock = slow).await;
    assert!(
        matches!(late.runner.run(job(&[&["true"]])).await, Err(Error::Expired)),
        "a deadline a day ahead"
    );
    let sealed_for_another = SealingKey::from_seed(&[4; 32]).expect("a key").public();
    let wrong = role(config(Profile::Ns), |remote| {
        remote.sealing_key = sealed_for_another;
    })
    .await;
    assert!(matches!(
        wrong.runner.run(job(&[&["true"]])).await,
        Err(Error::BadSignature)
    ));
}

#[tokio::test]
async fn an_answer_that_is_not_the_sandboxes_proves_nothing() {
    let stranger = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let role_ = role(config(Profile::Ns), |remote| remote.sandbox_key = stranger).await;
    let asked = job(&[&["true"]]);
    let nonce = asked.nonce;
    let lost = role_.runner.run(asked).await.expect_err("not verified");
    assert!(!lost.nothing_started(), "{lost}");
    assert!(role_.runner.running(nonce).await.is_err());
    let nobody = role(config(Profile::Ns), |remote| {
        remote.url = "http://127.0.0.1:1".parse().expect("a URL");
    })
    .await;
    let refused = nobody
        .runner
        .run(job(&[&["true"]]))
        .await
        .expect_err("nobody listens");
    assert!(refused.nothing_started(), "{refused}");
}

#[tokio::test]
async fn a_changed_job_is_refused() {
    let role = role(config(Profile::Ns), |_| ()).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = serde_json::json!({
        "statement": {"bytes": "e30=", "signature": "AAAA"}, "sealed": "",
    });
    let answer = client
        .post(format!("{}/v1/jobs", role.url))
        .json(&body)
        .send()
        .await
        .expect("answers");
    let text = answer.text().await.expect("reads");
    assert!(text.contains("signature"), "even a refusal is signed: {text}");
    let answer = client
        .post(format!("{}/v1/jobs", role.url))
        .body("{}")
        .send()
        .await
        .expect("answers");
    assert!(answer.status().is_client_error());
}

#[tokio::test]
async fn a_remote_job_reaches_its_egress_through_the_routers_listener() {
    let allowed = http_server("allowed");
    let without = role(config(Profile::Ns), |_| ()).await;
    let mut asked = job(&[&["curl", "-sS", "--noproxy", "", &format!("http://{allowed}/")]]);
    asked.egress = vec![allowed.parse().expect("host:port")];
    let refused = without.runner.run(asked.clone()).await.expect_err("no listener");
    assert!(
        matches!(&refused, Error::Refused { layer, .. } if layer == "egress"),
        "{refused}"
    );

    let listener = Arc::new(
        EgressListener::bind("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("binds"),
    );
    let advertised = listener.address().to_string();
    let with = role(config(Profile::Ns), |remote| {
        remote.egress = Some(RemoteEgress { listener, advertised });
    })
    .await;
    let outcome = with.runner.run(asked).await.expect("runs");
    assert_eq!(outcome.commands[0].stdout, "allowed", "{outcome:?}");
}

#[tokio::test]
async fn a_remote_job_sees_the_folders_that_the_sandbox_allows_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
    for path in [open.join("below"), closed.clone()] {
        std::fs::create_dir_all(path).expect("a folder");
    }
    std::fs::write(open.join("below/file"), "seen").expect("a file");
    let asking = |path: PathBuf| {
        let mut asked = job(&[&["cat", &format!("{}/file", path.display())]]);
        asked.mounts.push(carapulse::sandbox::Mount {
            path,
            writable: false,
        });
        asked
    };
    let none = role(config(Profile::Ns), |_| ()).await;
    let some = role_with_mounts(config(Profile::Ns), vec![open.clone()], |_| ()).await;
    let refused = [
        (&none, open.clone()),
        (&some, closed.clone()),
        (&some, folder.path().to_owned()),
        (&some, folder.path().join("open-not")),
    ];
    for (role, path) in refused {
        let error = role.runner.run(asking(path.clone())).await.expect_err("refused");
        let mounts = matches!(&error, Error::Refused { layer, .. } if layer == "mounts");
        assert!(mounts && error.nothing_started(), "{}: {error}", path.display());
    }
    let up = some
        .runner
        .run(asking(open.join("../closed")))
        .await
        .expect_err("refused");
    assert!(up.nothing_started(), "{up}");
    let outcome = some.runner.run(asking(open.join("below"))).await.expect("runs");
    assert_eq!(outcome.commands[0].stdout, "seen", "{outcome:?}");
}
