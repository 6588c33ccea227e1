//! What must be left after a crash, whatever died.

use std::time::Duration;

use carapulse::{
    audit::bundle::verify_bundle,
    domain::{canonical, plan::PlanDoc, run::JournalEvent},
    execution::machine::{Shape, State, replay},
};
use tokio::time::{Instant, sleep};

use crate::world::World;

/// Checks repository, journal, jobs and evidence; says what was found.
pub(super) async fn check(world: &World, name: &str, execution: &str, helps: bool) -> String {
    let status = world.status(execution).await.unwrap_or_default();
    let expected = if helps { "succeeded" } else { "rolled_back" };
    assert_eq!(status, expected, "{name}");
    let forward = world.story.marked(execution, "forward");
    let back = world.story.marked(execution, "rollback");
    let added = world.story.added();
    assert_eq!(
        (forward, back),
        (1, usize::from(!helps)),
        "{name}: marked commits"
    );
    assert_eq!(added, forward + back, "{name}: commits without our mark");
    assert_eq!(world.story.works(), helps, "{name}: what is deployed");
    journal(world, name).await;
    nothing_is_held(world, name).await;
    evidence(world, name, execution).await;
    format!("{status}, {forward} revert, {back} revert of it")
}

/// One execution, a journal without a gap that replays to the stored state.
pub(super) async fn journal(world: &World, name: &str) {
    let mut owner = world.db.owner().await;
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT e.state, e.journal_length, p.doc FROM execution e JOIN plan p USING (plan_id)",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let [(state, length, doc)] = rows.as_slice() else {
        panic!("{name}: {} executions of one plan", rows.len());
    };
    let events: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, event FROM journal ORDER BY seq")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert!(
        events.iter().map(|(seq, _)| *seq).eq(0..*length),
        "{name}: the journal has a gap"
    );
    let events: Vec<JournalEvent> = events
        .iter()
        .map(|(_, bytes)| canonical::from_bytes(bytes).unwrap())
        .collect();
    let shape = Shape::of(&PlanDoc::open(doc).unwrap());
    let stored: State = canonical::from_bytes(state).unwrap();
    assert_eq!(replay(&shape, &events).unwrap(), stored, "{name}");
}

/// No job of the execution is left, no attempt claimed, no target taken.
pub(super) async fn nothing_is_held(world: &World, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut owner = world.db.owner().await;
    loop {
        let held: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM job WHERE kind = 'execution')
               + (SELECT count(*) FROM attempt WHERE status = 'claimed') + (SELECT count(*) FROM target_lease)",
        )
        .fetch_one(&mut owner)
        .await
        .unwrap();
        if held == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {held} rows are still held");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The evidence bundle verifies offline. It may wait for the sequencer.
async fn evidence(world: &World, name: &str, execution: &str) {
    let trust = world.trust().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let bundle = world.get(&format!("/v1/executions/{execution}/evidence")).await;
        if let Some(bundle) = bundle {
            let report = verify_bundle(&bundle, &trust);
            assert!(report.passed(), "{name}: {:?}", report.checks);
            return;
        }
        assert!(Instant::now() < deadline, "{name}: no evidence bundle");
        sleep(Duration::from_millis(300)).await;
    }
}
