//! kubectl for real, on a cluster of simulated nodes.

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use carapulse::{
    domain::{
        KubernetesPlace, SecretRef,
        plan::Args,
        run::{ActRef, ActReport, AttemptStatus, Direction, ProbeReport},
    },
    tools::{ReadError, Router},
};
use serde_json::{Value, json};

use crate::approved::{Approved, router, write};

struct Cluster {
    folder: tempfile::TempDir,
    kubeconfig: String,
    namespace: String,
}

impl Cluster {
    fn new(name: &str) -> Self {
        let kubeconfig =
            std::env::var("CARAPULSE_TEST_KUBECONFIG").expect("a cluster: `cargo xtask kube run`");
        let it = Self {
            folder: tempfile::tempdir().expect("folder"),
            kubeconfig,
            namespace: format!("router-{name}-{}", std::process::id()),
        };
        it.kubectl(&["create", "namespace", &it.namespace]);
        it.kubectl(&["create", "deployment", "web", "--image=nginx:1", "--replicas=2"]);
        it.settled();
        it
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        command
            .args(["--kubeconfig", &self.kubeconfig, "--namespace", &self.namespace])
            .args(args);
        let output = command.output().expect("kubectl runs");
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn settled(&self) {
        self.kubectl(&["rollout", "status", "--timeout=60s", "deployment/web"]);
    }

    fn web(&self, pointer: &str) -> Value {
        let web: Value =
            serde_json::from_str(&self.kubectl(&["get", "deployment/web", "-o", "json"])).expect("JSON");
        web.pointer(pointer).cloned().unwrap_or_default()
    }

    async fn plan(&self, action: &str, args: Value, expected: &[(&str, &str)]) -> (Approved, Arc<Router>) {
        let expected = expected
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>();
        let credential = SecretRef::File(self.kubeconfig.clone().into());
        let it = Approved::at(
            |target| {
                target.context.namespace = self.namespace.clone();
                target.context.cluster_id = "test".into();
                target.kubernetes = Some(KubernetesPlace {
                    read_credential: credential.clone(),
                    write_credential: Some(credential.clone()),
                    context: "carapulse-test".into(),
                });
            },
            |catalog| vec![write(catalog, "kubectl", action, args, expected)],
        )
        .await;
        let router = router(&it, self.folder.path());
        (it, router)
    }
}

fn done(report: &ActReport) -> bool {
    report.status == AttemptStatus::Done
}

async fn act(it: &mut Approved, router: &Arc<Router>, direction: Direction) -> (ActRef, ActReport) {
    let act = it.intend(0, direction, 1).await;
    let report = router.act(&act).await.expect("report");
    (act, report)
}

async fn turn_back(it: &mut Approved, act: &ActRef) {
    it.end(act, AttemptStatus::Done).await;
    it.turn_back().await;
}

async fn lose_the_report(it: &mut Approved) {
    it.sql("UPDATE attempt SET status = 'claimed', ended_at = NULL, result = NULL")
        .await;
    it.db.advance(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn scale_acts_is_probed_and_goes_back_unless_somebody_came_between() {
    for (name, between) in [("scale", None), ("scale-between", Some("--replicas=7"))] {
        let cluster = Cluster::new(name);
        let args = json!({ "resource": "deployment/web", "replicas": 4 });
        let (mut it, router) = cluster.plan("scale", args, &[("replicas", "2")]).await;
        let (forward, report) = act(&mut it, &router, Direction::Forward).await;
        assert!(done(&report), "{report:?}");
        assert_eq!(cluster.web("/spec/replicas"), 4);
        lose_the_report(&mut it).await;
        assert_eq!(router.probe(&forward).await.expect("probe"), ProbeReport::Done);
        turn_back(&mut it, &forward).await;
        if let Some(replicas) = between {
            cluster.kubectl(&["scale", replicas, "deployment/web"]);
        }
        let (_, report) = act(&mut it, &router, Direction::Rollback).await;
        if between.is_some() {
            assert_eq!(report.code.as_deref(), Some("drifted"), "{report:?}");
            assert_eq!(cluster.web("/spec/replicas"), 7);
        } else {
            assert!(done(&report), "{report:?}");
            assert_eq!(cluster.web("/spec/replicas"), 2);
        }
    }
}

#[tokio::test]
async fn a_scale_of_what_has_moved_is_drift() {
    let cluster = Cluster::new("drift");
    let args = json!({ "resource": "deployment/web", "replicas": 4 });
    let (mut it, router) = cluster.plan("scale", args, &[("replicas", "3")]).await;
    let (_, report) = act(&mut it, &router, Direction::Forward).await;
    assert_eq!(report.code.as_deref(), Some("drifted"), "{report:?}");
    assert_eq!(cluster.web("/spec/replicas"), 2);
}

#[tokio::test]
async fn a_restart_leaves_a_mark_that_a_probe_finds_and_its_inverse_goes_back() {
    let cluster = Cluster::new("restart");
    let args = json!({ "resource": "deployment/web" });
    let (mut it, router) = cluster.plan("rollout_restart", args, &[("revision", "1")]).await;
    let (forward, report) = act(&mut it, &router, Direction::Forward).await;
    assert!(done(&report), "{report:?}");
    let mark = "/spec/template/metadata/annotations/carapulse.io~1attempt";
    assert!(
        cluster
            .web(mark)
            .as_str()
            .is_some_and(|m| m.starts_with("0/forward/1/")),
        "{}",
        cluster.web(mark)
    );
    lose_the_report(&mut it).await;
    assert_eq!(router.probe(&forward).await.expect("probe"), ProbeReport::Done);
    cluster.settled();
    turn_back(&mut it, &forward).await;
    let (_, report) = act(&mut it, &router, Direction::Rollback).await;
    assert!(done(&report), "{report:?}");
    assert_eq!(cluster.web(mark), Value::Null);
}

#[tokio::test]
async fn an_undo_goes_back_is_probed_by_its_revision_and_can_be_undone() {
    let cluster = Cluster::new("undo");
    cluster.kubectl(&["set", "image", "deployment/web", "nginx=nginx:2"]);
    cluster.settled();
    let args = json!({ "resource": "deployment/web", "revision": 1 });
    let (mut it, router) = cluster.plan("rollout_undo", args, &[("revision", "2")]).await;
    let (forward, report) = act(&mut it, &router, Direction::Forward).await;
    assert!(done(&report), "{report:?}");
    cluster.settled();
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(cluster.web(image), "nginx:1");
    lose_the_report(&mut it).await;
    assert_eq!(router.probe(&forward).await.expect("probe"), ProbeReport::Done);
    turn_back(&mut it, &forward).await;
    let (_, report) = act(&mut it, &router, Direction::Rollback).await;
    assert!(done(&report), "{report:?}");
    assert_eq!(cluster.web(image), "nginx:2");
}

#[tokio::test]
async fn reads_are_structured_and_secrets_are_out_of_reach() {
    let cluster = Cluster::new("reads");
    let (it, router) = cluster
        .plan("rollout_restart", json!({ "resource": "deployment/web" }), &[])
        .await;
    let read = async |action: &str, args: Value| {
        let args: Args = serde_json::from_value(args).expect("args");
        router
            .read(&it.ctx, it.target.target_id, "kubectl", action, &args)
            .await
    };
    let web = read("get", json!({ "resource": "deployment/web" }))
        .await
        .expect("get");
    assert_eq!(web.value["metadata"]["namespace"], json!(cluster.namespace));
    let pods = read("get", json!({ "resource": "pods", "selector": "app=web" }))
        .await
        .expect("pods");
    assert_eq!(pods.value["items"].as_array().map(Vec::len), Some(2));
    // A simulated pod may lose its readiness for a moment: the answer follows it.
    let mut complete = Value::Null;
    for _ in 0..30 {
        let status = read("rollout_status", json!({ "resource": "deployment/web" })).await;
        complete = status.expect("status").value["complete"].clone();
        if complete == "true" {
            break;
        }
        cluster.settled();
    }
    assert_eq!(complete, "true");
    let history = read("rollout_history", json!({ "resource": "deployment/web" }))
        .await
        .expect("history");
    assert!(history.text.contains("REVISION"), "{}", history.text);
    let secrets = read("get", json!({ "resource": "secrets" })).await;
    assert!(matches!(secrets, Err(ReadError::Arguments(_))), "{secrets:?}");
}
