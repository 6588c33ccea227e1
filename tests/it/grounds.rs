//! Whoever writes the journal cannot open a way with it: every reason must be found in rows that others wrote.
//!
//! The attacker here holds the orchestrator's database role and its token for the tool-router: journal and execution are theirs.

use carapulse::{
    domain::run::{AttemptStatus, Direction, JournalEvent, Resolution, Verdict},
    tools::catalog::Catalog,
};

use crate::approved::{Approved, COMMIT, revert};

/// Two writes, the first of which took effect.
async fn half_done() -> Approved {
    let two = |catalog: &Catalog| vec![revert(catalog, COMMIT, None), revert(catalog, COMMIT, None)];
    let mut it = Approved::new("/srv/shop.git", two).await;
    it.done(0, Direction::Forward).await;
    it
}

fn asked_back() -> JournalEvent {
    JournalEvent::RollbackRequested {
        by: "bob".into(),
        settles: false,
    }
}

fn missed() -> JournalEvent {
    JournalEvent::Looked {
        verdict: Verdict::NotMet,
        last: true,
    }
}

fn ended(step: u32, status: AttemptStatus) -> JournalEvent {
    JournalEvent::Ended {
        step,
        direction: Direction::Forward,
        attempt: 1,
        status,
        code: Some("exit_1".into()),
        retryable: false,
    }
}

/// What the router says to the inverse of `step`, now that the journal intends it.
async fn back(it: &mut Approved, step: u32) -> String {
    it.sql("UPDATE execution SET status = 'rolling_back'").await;
    let act = it.intend(step, Direction::Rollback, 1).await;
    it.refusal(&act).await
}

#[tokio::test]
async fn invariant_8_the_inverse_of_a_running_execution_s_step_needs_a_reason() {
    let mut it = half_done().await;
    assert_eq!(back(&mut it, 0).await, "journal_illegal", "no reason at all");
    // Each entry that would be a reason, without what it rests on.
    for (name, events) in [
        ("a request that nobody made", vec![asked_back()]),
        (
            "a cancellation that nobody asked for",
            vec![JournalEvent::CancelRequested { by: "bob".into() }],
        ),
        (
            "a deadline that has not passed",
            vec![JournalEvent::DeadlinePassed],
        ),
        (
            "a failure of an attempt that the router never saw",
            vec![intended(1), ended(1, AttemptStatus::Failed)],
        ),
        (
            "a refusal that the router never gave",
            vec![intended(1), ended(1, AttemptStatus::Refused)],
        ),
    ] {
        let mut it = half_done().await;
        for event in &events {
            it.journal(event).await;
        }
        assert_eq!(back(&mut it, 0).await, "journal_forged", "{name}");
    }
}

fn intended(step: u32) -> JournalEvent {
    JournalEvent::Intended {
        step,
        direction: Direction::Forward,
        attempt: 1,
    }
}

#[tokio::test]
async fn invariant_8_a_reason_that_others_vouch_for_opens_the_way_back() {
    let mut it = half_done().await;
    it.request(&asked_back()).await;
    it.journal(&asked_back()).await;
    assert_eq!(back(&mut it, 0).await, "granted", "a person asked");

    let mut it = half_done().await;
    it.journal(&JournalEvent::DeadlinePassed).await;
    it.sql("UPDATE execution SET started_at = started_at - interval '1 hour'")
        .await;
    assert_eq!(back(&mut it, 0).await, "granted", "the deadline has passed");

    for (status, word) in [
        (AttemptStatus::Failed, "failed"),
        (AttemptStatus::Refused, "refused"),
    ] {
        let mut it = half_done().await;
        let act = it.intend(1, Direction::Forward, 1).await;
        it.attempt(&act, word, Some("exit_1"), false).await;
        it.journal(&ended(1, status)).await;
        assert_eq!(back(&mut it, 0).await, "granted", "the second step {word}");
    }
}

#[tokio::test]
async fn invariant_9_a_missed_verification_is_the_router_s_to_say() {
    let both = async || {
        let mut it = half_done().await;
        it.done(1, Direction::Forward).await;
        it
    };
    let mut it = both().await;
    it.journal(&missed()).await;
    assert_eq!(back(&mut it, 1).await, "journal_forged", "no look was taken");
    let mut it = both().await;
    it.looked("met", true).await;
    it.journal(&missed()).await;
    assert_eq!(
        back(&mut it, 1).await,
        "journal_forged",
        "the look said something else"
    );
    let mut it = both().await;
    it.looked("not_met", false).await;
    it.journal(&missed()).await;
    assert_eq!(back(&mut it, 1).await, "journal_forged", "the window is not over");
    let mut it = both().await;
    it.looked("not_met", true).await;
    for _ in 0..2 {
        it.journal(&JournalEvent::Looked {
            verdict: Verdict::NotMet,
            last: false,
        })
        .await;
    }
    it.journal(&missed()).await;
    assert_eq!(
        back(&mut it, 1).await,
        "journal_forged",
        "one look is told three times"
    );
    let mut it = both().await;
    // The report of the first look was lost: the journal may tell of fewer.
    it.looked("not_met", false).await;
    it.looked("not_met", true).await;
    it.journal(&missed()).await;
    assert_eq!(back(&mut it, 1).await, "granted");
}

#[tokio::test]
async fn invariant_8_inverses_run_in_reverse_order_and_not_past_a_step_that_nobody_knows_of() {
    let mut it = half_done().await;
    it.done(1, Direction::Forward).await;
    it.turn_back().await;
    let first = it.intend(0, Direction::Rollback, 1).await;
    assert_eq!(
        it.refusal(&first).await,
        "journal_illegal",
        "the second step comes first"
    );

    let mut it = half_done().await;
    let act = it.intend(1, Direction::Forward, 1).await;
    it.attempt(&act, "unknown", Some("sandbox_lost"), false).await;
    it.end(&act, AttemptStatus::Unknown).await;
    let (forward, inverse) = (
        it.act(1, Direction::Forward, 2),
        it.act(0, Direction::Rollback, 1),
    );
    for status in ["needs_attention", "running", "rolling_back"] {
        // Whatever the row is made to say.
        it.sql(&format!("UPDATE execution SET status = '{status}'")).await;
        for act in [&forward, &inverse] {
            assert_eq!(it.refusal(act).await, "execution_status", "{status}");
        }
    }
    let resolved = JournalEvent::Resolved {
        step: 1,
        resolution: Resolution::NotDone,
        by: "bob".into(),
    };
    it.journal(&resolved).await;
    it.sql("UPDATE execution SET status = 'running'").await;
    let again = it.intend(1, Direction::Forward, 2).await;
    assert_eq!(
        it.refusal(&again).await,
        "journal_forged",
        "nobody has settled it"
    );
    it.request(&resolved).await;
    assert_eq!(it.refusal(&again).await, "granted", "a person has");
}

#[tokio::test]
async fn invariant_7_a_stop_binds_from_the_moment_at_which_it_was_asked_for() {
    let mut it = half_done().await;
    let act = it.intend(1, Direction::Forward, 1).await;
    assert_eq!(it.refusal(&act).await, "granted");
    for stop in [asked_back(), JournalEvent::CancelRequested { by: "bob".into() }] {
        it.request(&stop).await;
        assert_eq!(it.refusal(&act).await, "stop_requested");
        it.sql("UPDATE execution_request SET refused = 'it could not be', applied_at = db_now()")
            .await;
        assert_eq!(it.refusal(&act).await, "granted");
    }
    it.sql("DELETE FROM execution_request").await;
    // A hold that is journalled, whatever the row says.
    let mut it = half_done().await;
    it.journal(&JournalEvent::Held {
        code: "frozen".into(),
    })
    .await;
    assert_eq!(
        it.refusal(&it.act(1, Direction::Forward, 1)).await,
        "execution_status"
    );
    it.intend(1, Direction::Forward, 1).await;
    assert_eq!(
        it.refusal(&it.act(1, Direction::Forward, 1)).await,
        "journal_illegal"
    );
}

#[tokio::test]
async fn invariant_7_a_journal_with_a_gap_or_an_unknown_length_proves_nothing() {
    let mut it = half_done().await;
    let act = it.intend(1, Direction::Forward, 1).await;
    for change in [
        "UPDATE execution SET journal_length = journal_length + 1",
        "UPDATE execution SET journal_length = journal_length - 1; UPDATE journal SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM journal)",
    ] {
        it.sql(change).await;
        assert_eq!(it.refusal(&act).await, "journal_gap", "{change}");
    }
}

/// The database itself holds the orchestrator to this, so that the times and answers above are worth something.
#[tokio::test]
async fn what_the_reasons_rest_on_cannot_be_written_by_the_orchestrator() {
    let mut it = half_done().await;
    it.request(&asked_back()).await;
    it.sql("UPDATE execution SET started_at = NULL; UPDATE execution_request SET applied_at = db_now(), refused = 'no'").await;
    let orchestrator = it.db.as_role(carapulse::store::DbRole::Orchestrator).await;
    for (statement, allowed) in [
        (
            "INSERT INTO look SELECT execution_id, 9, tenant_id, 1, 'not_met', true, now() FROM execution",
            false,
        ),
        ("UPDATE look SET last = true", false),
        ("UPDATE attempt SET status = 'failed'", false),
        (
            "INSERT INTO execution_request SELECT gen_random_uuid(), tenant_id, execution_id, event, NULL, requested_by, now() FROM execution_request",
            false,
        ),
        ("UPDATE execution_request SET refused = NULL", false),
        ("DELETE FROM journal", false),
        (
            "UPDATE execution SET created_at = now() - interval '1 day'",
            false,
        ),
        ("UPDATE execution SET started_at = now() - interval '1 day'", true),
    ] {
        let mut tx = orchestrator.begin(&it.ctx.tenant).await.expect("transaction");
        let done = sqlx::query(statement).execute(&mut *tx).await;
        assert_eq!(done.is_ok(), allowed, "{statement}: {done:?}");
        if allowed {
            let fresh: bool =
                sqlx::query_scalar("SELECT started_at > db_now() - interval '1 minute' FROM execution")
                    .fetch_one(&mut *tx)
                    .await
                    .expect("a time");
            assert!(fresh, "a start is when it is written, whatever is written");
        }
    }
}
