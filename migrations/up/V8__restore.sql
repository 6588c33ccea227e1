-- After a restore nothing is written until a person acknowledges it. The sequencer, which finds published checkpoints ahead of
-- the log, may begin that; no serving role may end it: `carapulse restore acknowledge` does, as the owner.

GRANT UPDATE (read_only) ON installation TO carapulse_sequencer;

CREATE FUNCTION guard_read_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.read_only AND NOT NEW.read_only
     AND current_user IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') THEN
    RAISE EXCEPTION 'only `carapulse restore acknowledge` ends read-only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard_read_only BEFORE UPDATE OF read_only ON installation FOR EACH ROW EXECUTE FUNCTION guard_read_only();
