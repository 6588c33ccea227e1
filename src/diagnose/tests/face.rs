//! The whole way, over real sockets where there are any: sources, snapshot, bytes, diagnosis.

use std::sync::Arc;

use chrono::Duration;

use super::world::{World, noon};
use crate::{
    connectors::{HttpLimits, Prometheus, answering},
    context::{Focus, Snapshot, SourceState, Sources, snapshot},
    diagnose::{Remedy, Verdict, run},
    domain::{ManualClock, OpCtx},
};

/// The service fails since ten minutes before noon: 1772452200 is 11:50, 1772452920 is 12:02.
fn failing(path: &str, body: &str) -> (u16, String) {
    let asked = body.contains("query=http_requests_error_ratio%7Bservice%3D%22checkout%22%7D");
    let series = match (asked, path) {
        (true, "/api/v1/query") => r#"{"metric":{"service":"checkout"},"value":[1772452920,"0.42"]}"#,
        (true, _) => {
            r#"{"metric":{"service":"checkout"},"values":[[1772451600,"0.001"],[1772452260,"0.42"],[1772452920,"0.42"]]}"#
        }
        (false, _) => "",
    };
    let kind = if path == "/api/v1/query" {
        "vector"
    } else {
        "matrix"
    };
    (
        200,
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{series}]}}}}"#),
    )
}

fn ctx(tenant: &str) -> OpCtx {
    let clock = ManualClock::new(noon() + Duration::minutes(2));
    OpCtx::system("test", tenant.parse().expect("a tenant")).with_clock(Arc::new(clock))
}

async fn take(world: &World, prometheus: &str) -> Snapshot {
    let sources = Sources {
        git: Some(Arc::new(world.repository.clone())),
        kubernetes: Some(Err("kubeconfig context `prod-1`: found 0 times".into())),
        prometheus: Some(Prometheus::new(prometheus, None, HttpLimits::default()).map_err(|e| e.to_string())),
    };
    let focus = Focus::of_signal(&world.signal);
    let taken = snapshot(&ctx("default"), &world.target, &sources, &focus)
        .await
        .expect("a snapshot");
    let (bytes, _) = taken.seal().expect("canonical");
    assert_eq!(Snapshot::open(&bytes).as_ref(), Ok(&taken));
    taken
}

#[tokio::test]
async fn sources_become_a_snapshot_and_a_remedy() {
    let mut world = World::new();
    let bad = world.bad_commit();
    world.without_cluster();
    let taken = take(&world, &answering::serve(failing).await).await;
    assert_eq!(
        taken.source("kubernetes.pods").map(|s| s.state),
        Some(SourceState::NotConfigured)
    );
    let said = run(&world.signal, &taken, &world.target);
    assert_eq!(said.verdict, Verdict::Known, "{said:?}");
    assert!(matches!(said.remedy, Some(Remedy::RevertCommit { commit, .. }) if commit == bad));
}

#[tokio::test]
async fn a_source_that_fails_is_recorded_with_its_reason_and_nobody_guesses() {
    let mut world = World::new();
    world.bad_commit();
    let taken = take(&world, &answering::serve(|_, _| (503, "overloaded".into())).await).await;
    let reason = |name: &str| {
        taken
            .source(name)
            .and_then(|s| s.reason.clone())
            .unwrap_or_default()
    };
    assert_eq!(
        reason("kubernetes.pods"),
        "kubeconfig context `prod-1`: found 0 times"
    );
    assert_eq!(
        reason("prometheus.error_ratio/checkout"),
        "prometheus answered 503: overloaded"
    );
    let said = run(&world.signal, &taken, &world.target);
    assert!(
        matches!(said.verdict, Verdict::Unknown { .. }) && said.remedy.is_none(),
        "{said:?}"
    );
}

#[tokio::test]
async fn another_tenants_target_is_refused() {
    let world = World::new();
    let refused = snapshot(
        &ctx("other"),
        &world.target,
        &Sources::default(),
        &Focus::default(),
    )
    .await;
    assert!(refused.is_err());
}
