//! Recording, sequencing, publishing, paging and verifying the log, as the database roles that do each.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bundle;
mod list;
mod sequence;
mod tamper;

use carapulse::{
    audit::{self, Event, Sequencer},
    domain::{Actor, OpCtx, TenantId},
    store::{Db, DbRole, ObjectStore},
};
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::harness::TestDb;

/// The sequencer's key in these tests.
const KEY: [u8; 32] = [42; 32];

fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn ctx() -> OpCtx {
    OpCtx::new(Actor::system("test"), tenant(), "request-1")
}

/// A database with its sequencer and a folder for checkpoints.
struct Log {
    db: TestDb,
    gateway: Db,
    folder: tempfile::TempDir,
    sequencer: Sequencer,
}

impl Log {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let gateway = db.as_role(DbRole::Gateway).await;
        let folder = tempfile::tempdir().unwrap();
        let sequencer = sequencer(&db, folder.path()).await;
        Self {
            db,
            gateway,
            folder,
            sequencer,
        }
    }

    /// Records `count` events, each in its own transaction.
    async fn record(&self, count: u32) {
        for n in 0..count {
            record(&self.gateway, Event::new("test.done", json!({"n": n}))).await;
        }
    }

    /// Places everything that waits, and signs.
    async fn sequence(&mut self) {
        while self.sequencer.sequence(1).await.unwrap() > 0 {}
        self.sequencer.checkpoint().await.unwrap();
    }

    /// Positions of all tenants' events, sorted, as a superuser sees them.
    async fn positions(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self
            .db
            .superuser_i64s("SELECT position FROM audit_event WHERE position IS NOT NULL")
            .await;
        all.sort_unstable();
        all
    }
}

async fn sequencer(db: &TestDb, folder: &std::path::Path) -> Sequencer {
    let objects = ObjectStore::folder(folder).unwrap();
    let role = db.as_role(DbRole::Sequencer).await;
    Sequencer::new(role, SigningKey::from_bytes(&KEY), objects)
        .await
        .unwrap()
}

async fn record(db: &Db, event: Event) {
    let mut tx = db.begin(&tenant()).await.unwrap();
    audit::record(&mut tx, &ctx(), event).await.unwrap();
    tx.commit().await.unwrap();
}
