//! What router, gateway and journal tell of the execution.

use carapulse::domain::{
    canonical,
    run::{ActRef, AttemptStatus, Direction, JournalEvent, ProbeReport},
};
use serde_json::json;

use super::{Approved, COMMIT};

impl Approved {
    /// A person has asked this, as the gateway keeps it.
    pub(crate) async fn request(&mut self, event: &JournalEvent) {
        sqlx::query(
            "INSERT INTO execution_request (request_id, tenant_id, execution_id, event, requested_by, requested_at)
             VALUES (gen_random_uuid(), 'default', $1, $2, 'bob', db_now())",
        )
        .bind(self.execution_id.uuid())
        .bind(canonical::to_bytes(event).expect("canonical"))
        .execute(&mut self.owner)
        .await
        .expect("request");
    }

    /// A person asked to go back, and the engine has taken that up.
    pub(crate) async fn turn_back(&mut self) {
        let asked = JournalEvent::RollbackRequested {
            by: "bob".into(),
            settles: false,
        };
        self.request(&asked).await;
        self.journal(&asked).await;
        self.sql("UPDATE execution SET status = 'rolling_back'").await;
    }

    /// The router's row of an attempt that has ended so, as if it had been claimed.
    pub(crate) async fn attempt(&mut self, act: &ActRef, status: &str, code: Option<&str>, retryable: bool) {
        let answer = json!({ "duration_ms": 1, "probed": false, "retryable": retryable, "truncated": false, "values": { "commit": "f".repeat(40) } });
        sqlx::query(
            "INSERT INTO attempt (execution_id, step, direction, attempt, tenant_id, epoch, status, nonce, router_id, claimed_at, alive_until,
               deadline_at, ended_at, prior, result, error_code)
             VALUES ($1, $2, $3, $4, 'default', 1, $5, gen_random_uuid(), gen_random_uuid(), db_now(), db_now(), db_now(), db_now(), $6, $7, $8)",
        )
        .bind(self.execution_id.uuid())
        .bind(i32::try_from(act.step).expect("small"))
        .bind(act.direction.as_str())
        .bind(i32::try_from(act.attempt).expect("small"))
        .bind(status)
        .bind(canonical::to_bytes(&json!({ "head": COMMIT })).expect("canonical"))
        .bind(canonical::to_bytes(&answer).expect("canonical"))
        .bind(code)
        .execute(&mut self.owner)
        .await
        .expect("attempt");
    }

    /// A step that took effect, by router and journal.
    pub(crate) async fn done(&mut self, step: u32, direction: Direction) {
        let act = self.intend(step, direction, 1).await;
        self.attempt(&act, "done", None, false).await;
        self.end(&act, AttemptStatus::Done).await;
    }

    /// The router's row of a look.
    pub(crate) async fn looked(&mut self, verdict: &str, last: bool) {
        self.sql(&format!(
            "INSERT INTO look (execution_id, number, tenant_id, epoch, verdict, last, looked_at)
             SELECT execution_id, 1 + (SELECT count(*) FROM look), tenant_id, 1, '{verdict}', {last}, db_now() FROM execution"
        ))
        .await;
    }

    /// A probe of this attempt was journalled.
    pub(crate) async fn probed(&mut self, act: &ActRef, report: ProbeReport) {
        let (step, direction, attempt) = (act.step, act.direction, act.attempt);
        self.journal(&JournalEvent::Probed {
            step,
            direction,
            attempt,
            report,
        })
        .await;
    }
}
