-- Small tables: the lock is held for an instant.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS identity_token_key;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS person_name_key;
DROP FUNCTION IF EXISTS name_key(text);
REVOKE SELECT ON execution_request FROM carapulse_router;
DROP TABLE IF EXISTS look;
DROP TRIGGER IF EXISTS guard_execution_request ON execution_request;
DROP FUNCTION IF EXISTS guard_execution_request();
CREATE OR REPLACE FUNCTION guard_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') AND (
    OLD.completed_at IS NOT NULL OR NEW.epoch < OLD.epoch OR NEW.journal_length < OLD.journal_length
    OR (OLD.started_at IS NOT NULL AND NEW.started_at IS DISTINCT FROM OLD.started_at)
  ) THEN
    RAISE EXCEPTION 'an execution never goes back' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS guard_audit_event ON audit_event;
DROP FUNCTION IF EXISTS guard_audit_event();
DROP FUNCTION IF EXISTS audit_action_fits(text, text);
DROP FUNCTION IF EXISTS audit_actor_fits(text, text, text);
