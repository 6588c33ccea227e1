//! Recording, sequencing, publishing, paging and verifying the log, as the database roles that do each.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bundle;
mod cli;
mod forge;
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
use sqlx::{AssertSqlSafe, postgres::PgListener};

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
    orchestrator: Db,
    router: Db,
    /// As the sequencer, who sees the events of all tenants, without their bodies.
    all: Db,
    folder: tempfile::TempDir,
    sequencer: Sequencer,
}

impl Log {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let gateway = db.as_role(DbRole::Gateway).await;
        let orchestrator = db.as_role(DbRole::Orchestrator).await;
        let router = db.as_role(DbRole::Router).await;
        let all = db.as_role(DbRole::Sequencer).await;
        let folder = tempfile::tempdir().unwrap();
        let sequencer = sequencer(&db, folder.path()).await;
        Self {
            db,
            gateway,
            orchestrator,
            router,
            all,
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

    /// Changes the tables as their owner, past row-level security: what nobody who serves can do.
    async fn tamper(&self, sql: &str) {
        let past = format!("ALTER TABLE audit_event NO FORCE ROW LEVEL SECURITY; {sql}");
        let mut owner = self.db.owner().await;
        sqlx::raw_sql(AssertSqlSafe(past))
            .execute(&mut owner)
            .await
            .unwrap();
        let again = "ALTER TABLE audit_event FORCE ROW LEVEL SECURITY";
        sqlx::raw_sql(again).execute(&mut owner).await.unwrap();
    }

    /// A column of numbers, of all tenants.
    async fn numbers(&self, sql: &str) -> Vec<i64> {
        let mut tx = self.all.begin_global().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut *tx)
            .await
            .unwrap()
    }

    /// One value, of all tenants.
    async fn bytes(&self, sql: &str) -> Vec<u8> {
        let mut tx = self.all.begin_global().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut *tx)
            .await
            .unwrap()
    }

    /// Listens to what a gateway is told.
    async fn listen(&self) -> PgListener {
        let mut listener = PgListener::connect(&self.db.url(DbRole::Gateway)).await.unwrap();
        listener.listen("carapulse_events").await.unwrap();
        listener
    }

    /// Positions of all tenants' events, sorted, as the sequencer sees them.
    async fn positions(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self
            .numbers("SELECT position FROM audit_event WHERE position IS NOT NULL")
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
