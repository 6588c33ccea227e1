//! Jobs are rows, and rows get lost: work that is not done finds a job again, work that is done does not.

use carapulse::{
    approval, execution, investigation, notify,
    store::{Db, DbRole},
};

use crate::{approved::run, harness::TestDb};

/// Of each kind of work: one that waits without a job, one with a job, one that is over.
const WORLD: &str = "
INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc) VALUES (gen_random_uuid(), 'default', 't', 1, 'dev', 'act', '');
INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, risk_level, created_at, updated_at)
  SELECT ('00000000-0000-0000-0000-00000000010' || n)::uuid, 'default', 'executed', 1, '', sha256(''), 'manual', 's', 'low', now(), now() FROM generate_series(1, 5) n;
INSERT INTO execution (execution_id, tenant_id, plan_id, status, generation, state, requested_by, created_at, completed_at)
  SELECT ('00000000-0000-0000-0000-00000000020' || n)::uuid, 'default', ('00000000-0000-0000-0000-00000000010' || n)::uuid,
    (ARRAY['running', 'pending', 'succeeded', 'needs_attention', 'needs_attention'])[n], 1, '', 'ada', now(), CASE WHEN n = 3 THEN now() END
  FROM generate_series(1, 5) n;
INSERT INTO execution_request (request_id, tenant_id, execution_id, event, requested_by, requested_at)
  VALUES (gen_random_uuid(), 'default', '00000000-0000-0000-0000-000000000205', '', 'bob', now());
INSERT INTO incident (incident_id, tenant_id, group_key, title, status, stage, opened_at)
  SELECT ('00000000-0000-0000-0000-00000000030' || n)::uuid, 'default', 'k' || n, 't', (ARRAY['open', 'open', 'open', 'resolved', 'open'])[n],
    (ARRAY['received', 'diagnosed', 'requested', 'received', 'received'])[n], now() FROM generate_series(1, 5) n;
INSERT INTO signal (signal_id, tenant_id, source, fingerprint, status, starts_at, incident_id, first_seen_at, last_seen_at, body)
  SELECT gen_random_uuid(), 'default', 's', n::text, CASE WHEN n = 5 THEN 'resolved' ELSE 'firing' END, now(),
    ('00000000-0000-0000-0000-00000000030' || n)::uuid, now(), now(), '' FROM generate_series(1, 5) n;
INSERT INTO notification (notification_id, tenant_id, kind, severity, subject, body, dedupe_key, status, created_at)
  SELECT ('00000000-0000-0000-0000-00000000040' || n)::uuid, 'default', 'finished', 'info', 's', '{}', n::text,
    (ARRAY['pending', 'pending', 'delivered'])[n], now() FROM generate_series(1, 3) n;
INSERT INTO approval (approval_id, tenant_id, plan_id, digest, tier, status, requested_at, expires_at)
  SELECT ('00000000-0000-0000-0000-00000000050' || n)::uuid, 'default', ('00000000-0000-0000-0000-00000000010' || n)::uuid, sha256(''), 'standard',
    (ARRAY['pending', 'granted', 'denied'])[n], now(), now() + interval '1 hour' FROM generate_series(1, 3) n;
INSERT INTO job (job_id, kind, tenant_id, subject, due_at, lease_owner, lease_until)
  SELECT gen_random_uuid(), kind, 'default', ('00000000-0000-0000-0000-000000000' || id)::uuid, 'infinity', gen_random_uuid(), now() + interval '1 hour'
  FROM (VALUES ('execution', 202), ('investigation', 302), ('notify', 402), ('approval_expiry', 502)) AS held (kind, id);
";

async fn look(db: &Db) -> [u64; 4] {
    let mut tx = db.begin(&"default".parse().unwrap()).await.unwrap();
    let found = [
        execution::find_lost(&mut tx).await.unwrap(),
        investigation::find_lost(&mut tx).await.unwrap(),
        notify::find_lost(&mut tx).await.unwrap(),
        approval::find_lost(&mut tx).await.unwrap(),
    ];
    tx.commit().await.unwrap();
    found
}

#[tokio::test]
async fn invariant_7_work_whose_job_was_deleted_is_found_again_and_only_that() {
    let db = TestDb::new().await;
    let mut owner = db.superuser().await;
    run(
        &mut owner,
        &WORLD.replace("approval_expiry", approval::EXPIRY_JOB),
    )
    .await;
    let orchestrator = db.as_role(DbRole::Orchestrator).await;
    // Two executions: the running one, and the one that waits for a person who has answered.
    assert_eq!(look(&orchestrator).await, [2, 1, 1, 1]);
    assert_eq!(look(&orchestrator).await, [0, 0, 0, 0], "once");
    let found: Vec<(String, String)> =
        sqlx::query_as("SELECT kind, right(subject::text, 3) FROM job WHERE lease_owner IS NULL ORDER BY 2")
            .fetch_all(&mut owner)
            .await
            .unwrap();
    let found: Vec<&str> = found.iter().map(|(_, subject)| subject.as_str()).collect();
    assert_eq!(found, ["201", "205", "301", "401", "501"]);
    let due: bool = sqlx::query_scalar(
        "SELECT due_at > now() + interval '59 minutes' FROM job WHERE right(subject::text, 3) = '501'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert!(due, "a request ends when its time is over, not before");
}
