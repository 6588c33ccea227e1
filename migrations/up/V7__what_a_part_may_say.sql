-- What a part of the system that was taken over could still say in the name of another: the database refuses it.

-- An event of the log is what its hash says, says of itself what its columns say, can be read, and speaks in no other part's name.
-- One pass over one small document: this stands in the way of every insert. Only for serving roles; whoever owns the tables can do
-- anything anyway, and shows in the tree.
CREATE FUNCTION guard_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  part text := current_user;
  raw text;
  doc jsonb;
  who jsonb;
BEGIN
  IF part NOT IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') THEN
    RETURN NEW;
  END IF;
  IF NEW.leaf_hash <> sha256('\x00'::bytea || sha256('carapulse.audit.v1'::bytea || NEW.salt || NEW.body)) THEN
    RAISE EXCEPTION 'the leaf hash of an audit event is not that of its body' USING ERRCODE = 'insufficient_privilege';
  END IF;
  raw := convert_from(NEW.body, 'UTF8');
  doc := raw::jsonb;
  who := doc -> 'actor';
  -- The canonical text of what the columns say, with the rest of the document in its places: no other text is taken. (`||` with nothing
  -- is nothing, and `concat` leaves that out.)
  IF (
    raw = concat(
      '{"action":', to_jsonb(NEW.action),
      ',"actor":{', '"identity_id":' || (who -> 'identity_id')::text || ',', '"kind":', who -> 'kind', ',"name":', to_jsonb(NEW.actor),
      ',"person_id":' || (who -> 'person_id')::text, ',"role":', who -> 'role', ',"token_id":' || (who -> 'token_id')::text,
      '},"at":', doc -> 'at', ',"decision":"', NEW.decision, '","details":', raw::json -> 'details',
      ',"event_id":"event_', replace(NEW.event_id::text, '-', ''), '"',
      ',"execution_id":"exec_' || replace(NEW.execution_id::text, '-', '') || '"',
      ',"plan_id":"plan_' || replace(NEW.plan_id::text, '-', '') || '"', ',"request_id":', doc -> 'request_id',
      ',"subject":"' || NEW.subject::text || '"', ',"tenant_id":"', NEW.tenant_id, '","v":1}')
    AND jsonb_typeof(doc -> 'details') = 'object'
    AND jsonb_typeof(doc -> 'at') = 'string' AND jsonb_typeof(doc -> 'request_id') = 'string'
    AND who ->> 'kind' IN ('person', 'service', 'source', 'system')
    AND who ->> 'role' IN ('source', 'viewer', 'operator', 'approver', 'admin')
    AND (NOT who ? 'person_id' OR who ->> 'person_id' ~ '^person_[0-9a-f]{32}$')
    AND (NOT who ? 'identity_id' OR who ->> 'identity_id' ~ '^identity_[0-9a-f]{32}$')
    AND (NOT who ? 'token_id' OR who ->> 'token_id' ~ '^token_[0-9a-f]{32}$')
  ) IS NOT TRUE THEN
    RAISE EXCEPTION 'the body of an audit event cannot be read, or says something else than its columns' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF NOT audit_actor_fits(part, who ->> 'kind', NEW.actor) OR NOT audit_action_fits(part, NEW.action) THEN
    RAISE EXCEPTION '% does not record `%` in the name of %', part, NEW.action, NEW.actor USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;

-- People, their programs and sources come through the gateway; a part of the system speaks in its own name.
CREATE FUNCTION audit_actor_fits(part text, kind text, name text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (kind = 'system') = starts_with(name, 'system:') AND CASE
    WHEN name = 'system:router' THEN part = 'carapulse_router'
    WHEN name = 'system:sequencer' THEN part = 'carapulse_sequencer'
    WHEN name IN ('system:engine', 'system:investigation', 'system:expiry') THEN part = 'carapulse_orchestrator'
    WHEN name IN ('system:gateway', 'system:cli') OR kind <> 'system' THEN part = 'carapulse_gateway'
    ELSE part <> 'carapulse_sequencer'
  END;

-- What only one part does, only that part says was done.
CREATE FUNCTION audit_action_fits(part text, action text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN starts_with(action, 'tool.') THEN part = 'carapulse_router'
    WHEN starts_with(action, 'token.') OR starts_with(action, 'target.') OR starts_with(action, 'installation.')
      OR action IN ('approval.grant', 'approval.deny', 'approval.revoke', 'approval.consume', 'evidence.export',
        'execution.create', 'execution.cancel', 'execution.rollback', 'execution.resolve') THEN part = 'carapulse_gateway'
    WHEN action IN ('execution.start', 'execution.verify', 'execution.turn_back', 'execution.needs_attention',
        'execution.finish', 'execution.refused') THEN part = 'carapulse_orchestrator'
    ELSE true
  END;

CREATE TRIGGER guard_audit_event BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION guard_audit_event();

-- Times of an execution are the database's, whatever is written: deadlines are counted from them.
CREATE OR REPLACE FUNCTION guard_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user NOT IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') THEN
    RETURN NEW;
  END IF;
  IF OLD.completed_at IS NOT NULL OR NEW.epoch < OLD.epoch OR NEW.journal_length < OLD.journal_length
    OR (OLD.started_at IS NOT NULL AND NEW.started_at IS DISTINCT FROM OLD.started_at) THEN
    RAISE EXCEPTION 'an execution never goes back' USING ERRCODE = 'check_violation';
  END IF;
  IF OLD.started_at IS NULL AND NEW.started_at IS NOT NULL THEN
    NEW.started_at := db_now();
  END IF;
  IF NEW.completed_at IS NOT NULL THEN
    NEW.completed_at := db_now();
  END IF;
  RETURN NEW;
END $$;

-- What became of a person's request is said once.
CREATE FUNCTION guard_execution_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer')
    AND OLD.applied_at IS NOT NULL THEN
    RAISE EXCEPTION 'the request was answered' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard_execution_request BEFORE UPDATE ON execution_request FOR EACH ROW EXECUTE FUNCTION guard_execution_request();

-- One look of the tool-router at all assertions of an execution's plan. What the journal says of verification must be found here:
-- a miss is a reason to go back, and whoever writes the journal must not be able to make one up.
CREATE TABLE look (
  execution_id uuid NOT NULL REFERENCES execution,
  number integer NOT NULL CHECK (number > 0),
  tenant_id text NOT NULL REFERENCES tenant,
  epoch bigint NOT NULL CHECK (epoch >= 0),
  verdict text NOT NULL CHECK (verdict IN ('met', 'not_met', 'unknown')),
  -- Settle time and window of the verification have passed.
  last boolean NOT NULL,
  looked_at timestamptz NOT NULL,
  PRIMARY KEY (execution_id, number)
);
SELECT isolate_tenants('look');
GRANT SELECT, INSERT ON look TO carapulse_router;
GRANT SELECT ON look TO carapulse_gateway, carapulse_orchestrator;
-- The router holds the journal to what people asked for.
GRANT SELECT ON execution_request TO carapulse_router;

-- Two spellings of one name are one name: case, width and form of letters, and white space, tell nobody apart.
CREATE FUNCTION name_key(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN replace(replace(lower(normalize(btrim(regexp_replace(normalize(name, NFKC), '\s+', ' ', 'g')), NFKC)), 'ß', 'ss'), 'ς', 'σ');

-- Row-level security hides all rows from a migration that names no tenant.
DO $$
DECLARE
  t text;
  twins text;
BEGIN
  FOR t IN SELECT tenant_id FROM tenant LOOP
    PERFORM set_config('carapulse.tenant', t, true);
    SELECT string_agg(names, '; ') INTO twins FROM (
      SELECT string_agg(quote_literal(name), ' and ' ORDER BY name) AS names FROM person
      WHERE tenant_id = t GROUP BY name_key(name) HAVING count(*) > 1
      UNION ALL
      SELECT string_agg(quote_literal(subject), ' and ' ORDER BY subject) FROM identity
      WHERE tenant_id = t AND provider = 'token' GROUP BY name_key(subject) HAVING count(*) > 1) AS twin;
    IF twins IS NOT NULL THEN
      RAISE EXCEPTION 'tenant %: these names differ only in how they are written: %', t, twins
        USING HINT = 'Link the logins of one human being to one person row, delete or rename the other, then migrate again.';
    END IF;
  END LOOP;
  PERFORM set_config('carapulse.tenant', '', true);
END $$;
-- People and their logins are few: these are made in the blink of an eye, and must not be missing when one migration ends.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX person_name_key ON person (tenant_id, name_key(name));
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX identity_token_key ON identity (tenant_id, name_key(subject)) WHERE provider = 'token';
