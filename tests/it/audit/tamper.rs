//! A superuser tampers by SQL, each kind; every one shows, at its first position.

use carapulse::audit::{
    checkpoint::Checkpoint,
    note::NoteSigner,
    verify::{LogReport, verify_log},
};
use ed25519_dalek::SigningKey;

use super::Log;

async fn log_of(count: u32) -> Log {
    let mut log = Log::new().await;
    log.record(count / 2).await;
    log.sequence().await;
    log.record(count - count / 2).await;
    log.sequence().await;
    log
}

async fn report(log: &Log, published: &[Vec<u8>]) -> LogReport {
    verify_log(&log.gateway, &[log.sequencer.verifier().clone()], published)
        .await
        .unwrap()
}

/// Code and position of the fault after `sql`.
async fn fault_after(count: u32, sql: &str) -> (&'static str, u64) {
    let log = log_of(count).await;
    let before = report(&log, &[]).await;
    assert!(before.passed(), "{:?}", before.fault);
    log.tamper(sql).await;
    let fault = report(&log, &[]).await.fault.expect("it shows");
    (fault.code, fault.position)
}

#[tokio::test]
async fn an_untouched_log_passes_with_its_published_checkpoints() {
    let log = log_of(9).await;
    let folder = log.folder.path().join(format!("checkpoints/{:010}", 1));
    let published: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(published.len(), 2);
    let report = report(&log, &published).await;
    assert_eq!(report.fault, None);
    assert_eq!((report.size, report.signed_size, report.checkpoints), (9, 9, 4));
}

#[tokio::test]
async fn a_changed_body_shows() {
    let sql = "UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'), '\"n\":1', '\"n\":9'), 'UTF8') WHERE position = 1";
    assert_eq!(fault_after(9, sql).await, ("leaf", 1));
}

#[tokio::test]
async fn changed_columns_show() {
    assert_eq!(
        fault_after(9, "UPDATE audit_event SET actor = 'nobody' WHERE position = 5").await,
        ("columns", 5)
    );
}

#[tokio::test]
async fn a_deleted_event_shows() {
    assert_eq!(
        fault_after(9, "DELETE FROM audit_event WHERE position = 4").await,
        ("missing", 4)
    );
}

#[tokio::test]
async fn reordering_shows() {
    let sql = "UPDATE audit_event SET position = 9 - position WHERE position IN (3, 6)";
    assert_eq!(fault_after(9, sql).await, ("leaf", 3));
}

#[tokio::test]
async fn a_changed_node_shows() {
    let sql = "UPDATE merkle_node SET hash = sha256('x') WHERE level = 2 AND index = 1";
    assert_eq!(fault_after(9, sql).await, ("node", 7));
}

#[tokio::test]
async fn truncation_shows_by_the_checkpoint_that_is_left() {
    let sql =
        "DELETE FROM audit_event WHERE position >= 6; DELETE FROM merkle_node WHERE (index + 1) << level > 6;
               UPDATE audit_head SET size = 6";
    assert_eq!(fault_after(9, sql).await, ("truncated", 6));
}

#[tokio::test]
async fn truncation_with_its_checkpoint_shows_by_what_was_published() {
    let log = log_of(9).await;
    let newest = std::fs::read(log.folder.path().join(format!("checkpoints/{:010}/{:020}", 1, 9))).unwrap();
    log.tamper(
        "DELETE FROM audit_event WHERE position >= 6; DELETE FROM merkle_node WHERE (index + 1) << level > 6;
             UPDATE audit_head SET size = 6; DELETE FROM checkpoint WHERE size > 6",
    )
    .await;
    assert!(report(&log, &[]).await.passed(), "the database alone cannot tell");
    let fault = report(&log, &[newest]).await.fault.unwrap();
    assert_eq!((fault.code, fault.position), ("truncated", 6));
}

#[tokio::test]
async fn an_event_slipped_in_beyond_the_head_shows() {
    let sql = "UPDATE audit_head SET size = 8; DELETE FROM checkpoint WHERE size > 8;
               DELETE FROM merkle_node WHERE (index + 1) << level > 8";
    assert_eq!(fault_after(9, sql).await, ("beyond_head", 8));
}

/// The whole log is rewritten consistently: leaf, nodes above it. Only a signature can show that.
#[tokio::test]
async fn a_consistent_rewrite_shows_by_the_signed_root() {
    let sql = r#"UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'), '"n":0', '"n":7'), 'UTF8') WHERE position = 0;
      UPDATE audit_event SET leaf_hash = sha256('\x00'::bytea || sha256('carapulse.audit.v1'::bytea || salt || body)) WHERE position = 0;
      UPDATE merkle_node SET hash = (SELECT leaf_hash FROM audit_event WHERE position = 0) WHERE level = 0 AND index = 0;
      UPDATE merkle_node p SET hash = sha256('\x01'::bytea || l.hash || r.hash) FROM merkle_node l, merkle_node r
        WHERE p.level = 1 AND p.index = 0 AND l.level = 0 AND l.index = 0 AND r.level = 0 AND r.index = 1;
      UPDATE merkle_node p SET hash = sha256('\x01'::bytea || l.hash || r.hash) FROM merkle_node l, merkle_node r
        WHERE p.level = 2 AND p.index = 0 AND l.level = 1 AND l.index = 0 AND r.level = 1 AND r.index = 1"#;
    assert_eq!(fault_after(4, sql).await, ("root", 2));
}

#[tokio::test]
async fn a_forged_checkpoint_shows() {
    let log = log_of(4).await;
    let origin = log.sequencer.verifier().name().to_owned();
    let root = log
        .bytes("SELECT root FROM checkpoint WHERE size = 4")
        .await
        .try_into()
        .unwrap();
    let forger = NoteSigner::new(&origin, SigningKey::from_bytes(&[66; 32])).unwrap();
    let forged = Checkpoint {
        origin,
        size: 4,
        root,
        generation: 1,
    }
    .sign(&forger)
    .unwrap();
    log.tamper(&format!("UPDATE checkpoint SET note = '{forged}' WHERE size = 4"))
        .await;
    let fault = report(&log, &[]).await.fault.unwrap();
    assert_eq!((fault.code, fault.position), ("checkpoint", 4));
}
