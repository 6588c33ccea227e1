DROP TRIGGER IF EXISTS keep_tenant ON tenant;
DROP FUNCTION IF EXISTS keep_tenant();
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['job', 'audit_event', 'policy_decision', 'plan', 'plan_step', 'approval', 'approval_grant',
    'idempotency_key', 'execution', 'execution_request', 'journal', 'attempt', 'log_chunk', 'evidence', 'target_lease', 'look',
    'incident', 'signal', 'delivery', 'snapshot', 'diagnosis', 'notification'] LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (tenant_id) REFERENCES tenant', name, name || '_tenant_id_fkey');
  END LOOP;
END $$;
DROP FUNCTION IF EXISTS send_message(message_row, text);
DROP TYPE IF EXISTS message_row;
DROP FUNCTION IF EXISTS enqueue_job(text, text, uuid, bigint);
DROP FUNCTION IF EXISTS keep_decision(decision_row);
DROP TYPE IF EXISTS decision_row;
DROP FUNCTION IF EXISTS record_event(event_row);
DROP TYPE IF EXISTS event_row;
CREATE OR REPLACE FUNCTION db_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
  RETURN clock_timestamp() + (SELECT clock_offset FROM installation);
