//! Dense positions under concurrency, roll-backs, late commits, kills; checkpoints outside the database.

use std::time::Duration;

use carapulse::{
    audit::{
        self, Error, Event, Sequencer, merkle, note::VerifierKey, restore, sequencer, verify::verify_log,
    },
    store::{DbRole, ObjectStore},
};
use ed25519_dalek::SigningKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Log, ctx, record, sequencer as new_sequencer, tenant};

#[tokio::test]
async fn two_sequencers_and_many_writers_make_neither_gaps_nor_duplicates() {
    let log = Log::new().await;
    let stop = CancellationToken::new();
    let mut sequencers = tokio::task::JoinSet::new();
    // Both with the same epoch, so that nothing but the head's lock keeps them apart.
    for _ in 0..2 {
        let mut sequencer = new_sequencer(&log.db, log.folder.path()).await;
        let stop = stop.clone();
        sequencers.spawn(async move {
            while !stop.is_cancelled() {
                sequencer.sequence(1).await.unwrap();
                tokio::task::yield_now().await;
            }
            while sequencer.sequence(1).await.unwrap() > 0 {}
        });
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6_u32 {
        let db = log.gateway.clone();
        writers.spawn(async move {
            for n in 0..40_u32 {
                let mut tx = db.begin(&tenant()).await.unwrap();
                audit::record(&mut tx, &ctx(), Event::new("test.done", json!({"n": n})))
                    .await
                    .unwrap();
                if (n + writer) % 4 == 0 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    stop.cancel();
    while let Some(done) = sequencers.join_next().await {
        done.unwrap();
    }
    assert_eq!(log.positions().await, (0..180).collect::<Vec<i64>>());
    let mut last = new_sequencer(&log.db, log.folder.path()).await;
    last.checkpoint().await.unwrap();
    let keys = [last.verifier().clone()];
    let report = audit::verify::verify_log(&log.gateway, &keys, &[]).await.unwrap();
    assert_eq!(report.fault, None);
    assert_eq!((report.size, report.signed_size), (180, 180));
}

#[tokio::test]
async fn a_row_that_commits_late_still_gets_a_position() {
    let mut log = Log::new().await;
    let mut slow = log.gateway.begin(&tenant()).await.unwrap();
    audit::record(&mut slow, &ctx(), Event::new("test.slow", json!({})))
        .await
        .unwrap();
    log.record(3).await;
    log.sequence().await;
    assert_eq!(log.positions().await, [0, 1, 2]);
    slow.commit().await.unwrap();
    log.sequence().await;
    assert_eq!(log.positions().await, [0, 1, 2, 3]);
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    let after = audit::events_after(&mut tx, Some(2), 10).await.unwrap();
    assert_eq!(after.len(), 1, "a stream that resumes from position 2 sees it");
    assert_eq!(after[0].body.action, "test.slow");
}

#[tokio::test]
async fn a_sequencer_killed_in_a_batch_leaves_no_trace() {
    let mut log = Log::new().await;
    log.record(5).await;
    let mut cuts = 0;
    for stop_after in 1..400_u64 {
        let mut victim = new_sequencer(&log.db, log.folder.path()).await;
        // Dropped at some await: the connection goes, the server rolls back.
        let cut = tokio::time::timeout(Duration::from_micros(stop_after * 100), victim.sequence(1)).await;
        let placed = log.positions().await;
        assert!(placed.is_empty() || placed == [0, 1, 2, 3, 4], "{placed:?}");
        if cut.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 0, "nothing was cut");
    log.record(2).await;
    log.sequence().await;
    assert_eq!(log.positions().await, (0..7).collect::<Vec<i64>>());
    let keys = [log.sequencer.verifier().clone()];
    assert!(
        audit::verify::verify_log(&log.gateway, &keys, &[])
            .await
            .unwrap()
            .passed()
    );
}

#[tokio::test]
async fn a_superseded_sequencer_changes_nothing() {
    let mut log = Log::new().await;
    log.record(1).await;
    assert_eq!(log.sequencer.sequence(7).await.unwrap(), 1);
    log.record(1).await;
    let mut old = new_sequencer(&log.db, log.folder.path()).await;
    assert!(matches!(old.sequence(6).await, Err(Error::Superseded)));
    assert_eq!(log.positions().await, [0]);
}

#[tokio::test]
async fn the_leased_loop_sequences_signs_publishes_and_notifies() {
    let log = Log::new().await;
    let keys = [log.sequencer.verifier().clone()];
    let mut listener = log.listen().await;
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let sequencer = new_sequencer(&log.db, log.folder.path()).await;
        running.spawn(sequencer.run(ctx().id(), tenant(), stop.clone()));
    }
    for n in 0..20 {
        record(&log.gateway, Event::new("test.done", json!({"n": n}))).await;
    }
    let told = async {
        loop {
            if listener.recv().await.unwrap().payload() == "20" {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .expect("told of the whole log");
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let path = log
        .folder
        .path()
        .join(format!("checkpoints/{:010}/{:020}", 1, 20));
    let note = std::fs::read(path).expect("published on the way out");
    let checkpoint = audit::checkpoint::Checkpoint::open(&note, &keys).unwrap();
    let proof = audit::inclusion_proof(&log.gateway, 7, 20).await.unwrap();
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    let stored = audit::latest_checkpoint(&mut tx).await.unwrap().unwrap();
    assert_eq!(stored.note.as_bytes(), note);
    let leaf: [u8; 32] = log
        .bytes("SELECT leaf_hash FROM audit_event WHERE position = 7")
        .await
        .try_into()
        .unwrap();
    merkle::verify_inclusion(&leaf, 7, 20, &proof.hashes, &checkpoint.root).unwrap();
    let older = audit::consistency_proof(&log.gateway, 11, 20).await.unwrap();
    assert!(!older.is_empty());
}

#[tokio::test]
async fn lag_is_told_and_readiness_follows_it() {
    let mut log = Log::new().await;
    let role = log.db.as_role(DbRole::Sequencer).await;
    sequencer::ready(&role, 5.0).await.unwrap();
    log.record(3).await;
    assert_eq!(sequencer::lag(&role).await.unwrap().events, 3);
    log.tamper("UPDATE audit_event SET recorded_at = recorded_at - interval '1 minute'")
        .await;
    let why = sequencer::ready(&role, 5.0).await.unwrap_err();
    assert!(why.starts_with("3 audit events wait"), "{why}");
    log.sequence().await;
    sequencer::ready(&role, 5.0).await.unwrap();
}

#[tokio::test]
async fn a_published_checkpoint_ahead_of_the_log_stops_it_until_a_person_acknowledges() {
    let mut log = Log::new().await;
    log.record(2).await;
    log.sequence().await;
    log.sequencer.check_published().await.unwrap();
    let ahead = log.folder.path().join(format!("checkpoints/{:010}/{:020}", 1, 3));
    std::fs::write(&ahead, "a checkpoint of a later day").unwrap();
    let error = log.sequencer.check_published().await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Restored {
                size: 2,
                generation: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("carapulse restore acknowledge"));
    let owner = log.db.as_role(DbRole::Owner).await;
    let standing = async || restore::standing(&owner).await.unwrap();
    assert!(
        standing().await.read_only,
        "found ahead: nothing is written any more"
    );
    let lift = log.gateway.begin_global().await.unwrap();
    refused_to_lift(lift).await;
    assert_eq!(restore::begin_generation(&owner).await.unwrap(), 2);
    assert!(standing().await.read_only);
    restore::acknowledge(
        &owner,
        &ctx(),
        2,
        json!({"reason": "restored from Monday's dump"}),
    )
    .await
    .unwrap();
    assert!(!standing().await.read_only);
    log.sequencer.check_published().await.unwrap();
    log.sequence().await;
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    let newest = audit::latest_checkpoint(&mut tx).await.unwrap().unwrap();
    assert_eq!((newest.size, newest.generation), (3, 2));
    assert_eq!(
        std::fs::read(&ahead).unwrap(),
        b"a checkpoint of a later day",
        "write-once"
    );
}

/// A serving role may begin read-only, and not end it.
async fn refused_to_lift(mut tx: carapulse::store::Tx) {
    let lifted = sqlx::query("UPDATE installation SET read_only = false")
        .execute(&mut *tx)
        .await;
    let error = lifted.unwrap_err().to_string();
    assert!(error.contains("carapulse restore acknowledge"), "{error}");
}

#[tokio::test]
async fn a_published_checkpoint_that_contradicts_the_log_stops_it() {
    let mut log = Log::new().await;
    log.record(2).await;
    log.sequence().await;
    let path = log.folder.path().join(format!("checkpoints/{:010}/{:020}", 1, 2));
    std::fs::write(&path, "another").unwrap();
    assert!(matches!(
        log.sequencer.check_published().await,
        Err(Error::Forked { .. })
    ));
}

#[tokio::test]
async fn an_event_of_another_tenant_than_its_transaction_is_refused() {
    let log = Log::new().await;
    let mut tx = log.gateway.begin_global().await.unwrap();
    let refused = audit::record(&mut tx, &ctx(), Event::new("x", json!({}))).await;
    assert!(matches!(refused, Err(Error::Tenant)));
}

#[tokio::test]
async fn a_log_goes_on_under_another_key_and_is_proven_with_both() {
    let mut log = Log::new().await;
    log.record(2).await;
    log.sequence().await;
    let first = log.sequencer.verifier().clone();
    let key = SigningKey::from_bytes(&[43; 32]);
    let objects = ObjectStore::folder(log.folder.path()).unwrap();
    log.sequencer = Sequencer::new(log.all.clone(), key, objects).await.unwrap();
    log.sequencer.check_published().await.unwrap();
    log.record(2).await;
    log.sequence().await;
    let second = log.sequencer.verifier().clone();
    let fault = async |keys: &[VerifierKey]| verify_log(&log.gateway, keys, &[]).await.unwrap().fault;
    assert_eq!(fault(&[first.clone(), second.clone()]).await, None);
    for alone in [first, second] {
        assert_eq!(fault(&[alone]).await.unwrap().code, "checkpoint");
    }
}
