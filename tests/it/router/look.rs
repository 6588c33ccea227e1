//! Looks at the assertions: measured, judged and kept by the router.

use std::time::Duration;

use carapulse::{
    domain::run::{AttemptStatus, Direction, LookRef, ProbeReport, Verdict},
    tools::ClientError,
};

use super::World;

fn named(world: &World) -> LookRef {
    LookRef {
        tenant_id: world.it.ctx.tenant.clone(),
        execution_id: world.it.execution_id,
        epoch: 1,
    }
}

#[tokio::test]
async fn invariant_9_a_look_is_measured_and_kept_by_the_router_and_the_window_is_its_own() {
    let mut world = World::new().await;
    world.it.done(0, Direction::Forward).await;
    let look = named(&world);
    let seen = world.router.look(&look).await.expect("a look");
    // The repository's head is not the commit that the plan's assertion names.
    assert_eq!((seen.verdict, seen.last), (Verdict::NotMet, false));
    assert_eq!(seen.judged.len(), 1);
    assert_eq!(
        seen.judged[0].answer.as_ref().expect("an answer")[0]["commit"],
        world.bad
    );
    world.it.db.advance(Duration::from_secs(30)).await;
    assert!(
        !world.router.look(&look).await.expect("a look").last,
        "within the window"
    );
    world.it.db.advance(Duration::from_secs(31)).await;
    assert!(
        world.router.look(&look).await.expect("a look").last,
        "60 s after the first look"
    );
    let kept: Vec<(i32, String, bool)> =
        sqlx::query_as("SELECT number, verdict, last FROM look ORDER BY number")
            .fetch_all(&mut world.it.owner)
            .await
            .expect("rows");
    let not_met = |number, last| (number, "not_met".to_owned(), last);
    assert_eq!(kept, [not_met(1, false), not_met(2, false), not_met(3, true)]);
}

#[tokio::test]
async fn invariant_9_what_cannot_be_measured_or_lacks_required_evidence_is_unknown() {
    let mut world = World::with(|step| step.evidence_required.push("promql".into())).await;
    world.it.done(0, Direction::Forward).await;
    // Met, but nothing of this plan measures with Prometheus.
    world.it.doc.verification.assertions[0].value = world.bad.clone();
    world.store_doc().await;
    let look = named(&world);
    let seen = world.router.look(&look).await.expect("a look");
    assert_eq!(seen.judged[0].verdict, Verdict::Met);
    assert_eq!(seen.verdict, Verdict::Unknown);
    // Another definition than the one that was approved measures something else.
    world.it.doc.verification.assertions[0].action_digest = carapulse::domain::Digest::of_content(b"x");
    world.store_doc().await;
    let seen = world.router.look(&look).await.expect("a look");
    assert_eq!(seen.judged[0].verdict, Verdict::Unknown);
    assert!(
        seen.judged[0]
            .answer
            .as_ref()
            .expect_err("no answer")
            .contains("git.head")
    );
}

#[tokio::test]
async fn invariant_9_success_is_measured_once_and_nobody_can_wait_until_it_is_a_miss() {
    let mut world = World::new().await;
    world.it.done(0, Direction::Forward).await;
    world.it.doc.verification.assertions[0].value = world.bad.clone();
    world.it.doc.verification.min_samples = 2;
    world.store_doc().await;
    let look = named(&world);
    let verdict = async |world: &World| world.router.look(&look).await.expect("a look").verdict;
    assert_eq!(verdict(&world).await, Verdict::Met);
    // The service breaks again; one look of two had been met.
    world.it.doc.verification.assertions[0].value = world.good.clone();
    world.store_doc().await;
    assert_eq!(verdict(&world).await, Verdict::NotMet);
    world.it.doc.verification.assertions[0].value = world.bad.clone();
    world.store_doc().await;
    assert_eq!(
        (verdict(&world).await, verdict(&world).await),
        (Verdict::Met, Verdict::Met)
    );
    world.it.doc.verification.assertions[0].value = world.good.clone();
    world.store_doc().await;
    world.it.db.advance(Duration::from_secs(3600)).await;
    assert_eq!(verdict(&world).await, Verdict::Met, "both were: it has worked");
    assert_eq!(verdict(&world).await, Verdict::Met);
}

#[tokio::test]
async fn a_look_is_taken_for_the_present_lease_of_a_running_execution_only() {
    let mut world = World::new().await;
    let look = named(&world);
    let old = LookRef {
        epoch: 0,
        ..look.clone()
    };
    assert!(matches!(
        world.router.look(&old).await,
        Err(ClientError::Rejected(_))
    ));
    world.it.sql("UPDATE execution SET status = 'rolling_back'").await;
    assert!(matches!(
        world.router.look(&look).await,
        Err(ClientError::Rejected(_))
    ));
    world
        .it
        .sql("UPDATE execution SET status = 'running'; UPDATE plan SET digest = sha256('x')")
        .await;
    assert!(matches!(
        world.router.look(&look).await,
        Err(ClientError::Rejected(_))
    ));
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM look")
        .fetch_one(&mut world.it.owner)
        .await
        .expect("count");
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn invariant_7_a_refusal_is_the_end_of_its_attempt_for_act_probe_and_journal_alike() {
    let mut world = World::new().await;
    let act = world.it.intend(0, Direction::Forward, 1).await;
    world.it.sql("UPDATE installation SET frozen = true").await;
    let report = world.router.act(&act).await.expect("report");
    assert_eq!(
        (report.status, report.code.as_deref()),
        (AttemptStatus::Refused, Some("frozen"))
    );
    world.it.sql("UPDATE installation SET frozen = false").await;
    assert_eq!(world.router.act(&act).await.expect("report"), report, "stored");
    assert_eq!(
        world.router.probe(&act).await.expect("probe"),
        ProbeReport::Failed
    );
    assert_eq!(world.commits(), 2, "nothing was done");
}
