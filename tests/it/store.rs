//! Transactions and jobs on a real server.

use std::time::Duration;

use carapulse::{
    domain::TenantId,
    store::{DbRole, Error, job},
};
use uuid::Uuid;

use crate::harness::TestDb;

fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn owner(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

#[tokio::test]
async fn a_transaction_sees_only_its_tenant_and_knows_the_database_time() {
    let db = TestDb::new().await;
    let gateway = db.as_role(DbRole::Gateway).await;
    let mut tx = gateway.begin(&tenant()).await.unwrap();
    let seen: Option<String> = sqlx::query_scalar("SELECT current_tenant()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen.as_deref(), Some("default"));
    let before = tx.db_now().await.unwrap();
    db.advance(Duration::from_secs(3600)).await;
    assert!((tx.db_now().await.unwrap() - before).num_seconds() >= 3600);
    tx.rollback().await.unwrap();
    let mut global = gateway.begin_global().await.unwrap();
    let seen: Option<String> = sqlx::query_scalar("SELECT current_tenant()")
        .fetch_one(&mut *global)
        .await
        .unwrap();
    assert_eq!(seen, None, "the tenant does not outlive its transaction");
}

#[tokio::test]
async fn a_job_has_one_holder_and_a_higher_epoch_each_time() {
    let db = TestDb::new().await;
    let orchestrator = db.as_role(DbRole::Orchestrator).await;
    let subject = Some(owner(9));
    let mut tx = orchestrator.begin_global().await.unwrap();
    job::enqueue(&mut tx, "execution", &tenant(), subject, 0)
        .await
        .unwrap();
    job::enqueue(&mut tx, "execution", &tenant(), subject, 0)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let first = job::lease(&orchestrator, &["execution"], owner(1), 30)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.subject, first.epoch, first.attempts), (subject, 1, 1));
    assert_eq!(
        job::lease(&orchestrator, &["execution"], owner(2), 30)
            .await
            .unwrap(),
        None
    );
    assert!(job::renew(&orchestrator, &first, 30).await.unwrap());

    db.advance(Duration::from_secs(60)).await;
    let second = job::lease(&orchestrator, &["execution"], owner(2), 30)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (second.job_id, second.epoch, second.attempts),
        (first.job_id, 2, 2)
    );
    assert!(
        !job::renew(&orchestrator, &first, 30).await.unwrap(),
        "the first holder has lost it"
    );
    let mut tx = orchestrator.begin_global().await.unwrap();
    let refused = job::finish(&mut tx, &first).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { constraint } if constraint == "job_lease"));
    job::finish(&mut tx, &second).await.unwrap();
    tx.commit().await.unwrap();
    db.advance(Duration::from_secs(60)).await;
    assert_eq!(
        job::lease(&orchestrator, &["execution"], owner(3), 30)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_wish_during_a_lease_is_not_lost() {
    let db = TestDb::new().await;
    let orchestrator = db.as_role(DbRole::Orchestrator).await;
    let gateway = db.as_role(DbRole::Gateway).await;
    let ask = async || {
        let mut tx = gateway.begin(&tenant()).await.unwrap();
        job::enqueue(&mut tx, "execution", &tenant(), Some(owner(9)), 0)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    ask().await;
    let lease = job::lease(&orchestrator, &["execution"], owner(1), 30)
        .await
        .unwrap()
        .unwrap();
    ask().await;
    let mut tx = orchestrator.begin_global().await.unwrap();
    job::finish(&mut tx, &lease).await.unwrap();
    tx.commit().await.unwrap();
    let again = job::lease(&orchestrator, &["execution"], owner(1), 30)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.epoch, again.attempts), (2, 1));
    ask().await;
    job::hand_back(&orchestrator, &again, 3_600_000, Some("later"))
        .await
        .unwrap();
    let sooner = job::lease(&orchestrator, &["execution"], owner(1), 30)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sooner.attempts, 2, "an error keeps the count");
}

#[tokio::test]
async fn a_handed_back_job_waits_until_it_is_due() {
    let db = TestDb::new().await;
    let orchestrator = db.as_role(DbRole::Orchestrator).await;
    let mut tx = orchestrator.begin_global().await.unwrap();
    job::enqueue(&mut tx, "expiry", &tenant(), None, 0).await.unwrap();
    tx.commit().await.unwrap();
    let lease = job::lease(&orchestrator, &["expiry"], owner(1), 30)
        .await
        .unwrap()
        .unwrap();
    let mut tx = orchestrator.begin_global().await.unwrap();
    job::reschedule(&mut tx, &lease, 60, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        job::lease(&orchestrator, &["expiry"], owner(1), 30)
            .await
            .unwrap(),
        None
    );
    db.advance(Duration::from_secs(61)).await;
    assert!(
        job::lease(&orchestrator, &["expiry"], owner(1), 30)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn many_workers_share_many_jobs_without_doing_one_twice() {
    let db = TestDb::new().await;
    let orchestrator = db.as_role(DbRole::Orchestrator).await;
    let mut tx = orchestrator.begin_global().await.unwrap();
    for n in 0..40 {
        job::enqueue(&mut tx, "execution", &tenant(), Some(owner(n)), 0)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let workers = (0..4_u128).map(|worker| {
        let db = orchestrator.clone();
        async move {
            let mut held = Vec::new();
            while let Some(lease) = job::lease(&db, &["execution"], owner(100 + worker), 30)
                .await
                .unwrap()
            {
                held.push(lease.job_id);
            }
            held
        }
    });
    let mut all: Vec<_> = futures::future::join_all(workers).await.concat();
    assert_eq!(all.len(), 40);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
}
