-- Faces of tables: what a change writes besides its own rows, it writes in the statement of the change.
--
-- They run with the rights of the caller, so that grants, row-level security and triggers hold as for the statements inside, and
-- on the tenant of the transaction. In PL/pgSQL, because its plans are kept for the session: an SQL function that is not inlined
-- is planned at every call.

-- As before, at half the processor time.
CREATE OR REPLACE FUNCTION db_now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
  now timestamptz;
BEGIN
  SELECT clock_timestamp() + clock_offset INTO STRICT now FROM installation;
  RETURN now;
END $$;

-- An event of the audit log, without its tenant and position.
CREATE TYPE event_row AS (
  event_id uuid,
  action text,
  actor text,
  decision text,
  subject uuid,
  plan_id uuid,
  execution_id uuid,
  body bytea,
  salt bytea,
  leaf_hash bytea
);
CREATE FUNCTION record_event(event event_row) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit_event (event_id, tenant_id, action, actor, decision, subject, plan_id, execution_id, body, salt, leaf_hash)
  VALUES (event.event_id, current_tenant(), event.action, event.actor, event.decision, event.subject, event.plan_id,
    event.execution_id, event.body, event.salt, event.leaf_hash);
END $$;

-- A policy decision with its exact question and answer.
CREATE TYPE decision_row AS (
  decision_id uuid,
  bundle_digest bytea,
  action text,
  decision text,
  plan_id uuid,
  execution_id uuid,
  step integer,
  input bytea,
  output bytea
);
CREATE FUNCTION keep_decision(made decision_row) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO policy_decision (decision_id, tenant_id, bundle_digest, action, decision, plan_id, execution_id, step, input, output)
  VALUES (made.decision_id, current_tenant(), made.bundle_digest, made.action, made.decision, made.plan_id, made.execution_id,
    made.step, made.input, made.output);
END $$;

-- Asks for work: inserts the job, or brings the waiting one forward.
CREATE FUNCTION enqueue_job(of_kind text, of_tenant text, about uuid, due_in_secs bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job (job_id, kind, tenant_id, subject, due_at)
  VALUES (gen_random_uuid(), of_kind, of_tenant, about, db_now() + make_interval(secs => due_in_secs))
  ON CONFLICT (kind, tenant_id, subject) DO UPDATE SET due_at = least(job.due_at, excluded.due_at);
END $$;

-- A message to people, and the job (of `job_kind`) that delivers it. False when the tenant has one of this key.
CREATE TYPE message_row AS (
  notification_id uuid,
  kind text,
  severity text,
  subject text,
  body bytea,
  dedupe_key text,
  created_at timestamptz
);
CREATE FUNCTION send_message(message message_row, job_kind text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notification (notification_id, tenant_id, kind, severity, subject, body, dedupe_key, created_at)
  VALUES (message.notification_id, current_tenant(), message.kind, message.severity, message.subject, message.body,
    message.dedupe_key, message.created_at)
  ON CONFLICT (tenant_id, dedupe_key) DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM enqueue_job(job_kind, current_tenant(), message.notification_id, 0);
  RETURN true;
END $$;

-- The tenant of a row that a request or a step writes is no foreign key: every insert of every transaction would lock the one row of
-- its tenant. What the key promised holds without it: row-level security lets in rows of the transaction's tenant only, a
-- transaction that writes is on the tenant of a token or of a job, and a tenant stays for ever.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['job', 'audit_event', 'policy_decision', 'plan', 'plan_step', 'approval', 'approval_grant',
    'idempotency_key', 'execution', 'execution_request', 'journal', 'attempt', 'log_chunk', 'evidence', 'target_lease', 'look',
    'incident', 'signal', 'delivery', 'snapshot', 'diagnosis', 'notification'] LOOP
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', name, name || '_tenant_id_fkey');
  END LOOP;
END $$;
CREATE FUNCTION keep_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a tenant is never removed or renamed: its rows would be without one' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keep_tenant BEFORE DELETE OR UPDATE OF tenant_id ON tenant FOR EACH ROW EXECUTE FUNCTION keep_tenant();
