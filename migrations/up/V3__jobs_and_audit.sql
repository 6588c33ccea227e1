-- Background work, the audit log, and who may write to them.

-- All cyclic or deferred work. Has a tenant column but no row-level isolation: workers scan it across tenants, and it
-- holds nothing but ids and times.
CREATE TABLE job (
  job_id uuid PRIMARY KEY,
  kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
  tenant_id text NOT NULL REFERENCES tenant,
  -- What it is about; null for a singleton.
  subject uuid,
  -- 'infinity' while leased, unless somebody asked for it again meanwhile: then it runs once more after the lease.
  due_at timestamptz NOT NULL,
  epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  lease_owner uuid,
  lease_until timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
);
CREATE UNIQUE INDEX job_subject ON job (kind, tenant_id, subject) NULLS NOT DISTINCT;
CREATE INDEX job_due ON job (kind, due_at) WHERE lease_until IS NULL;
CREATE INDEX job_lease ON job (kind, lease_until) WHERE lease_until IS NOT NULL;

-- The audit log and, being the same rows in the same order, the outbox of live events. A change inserts its event
-- without a position, in its own transaction; the sequencer gives committed rows dense positions and extends the Merkle
-- tree. Partitioned by time so that retention drops whole partitions; the leaf hashes stay in `merkle_node`.
CREATE TABLE audit_event (
  event_id uuid NOT NULL,
  tenant_id text NOT NULL REFERENCES tenant,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  position bigint CHECK (position >= 0),
  action text NOT NULL,
  actor text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('allow', 'deny', 'require_approval', 'none')),
  subject uuid,
  plan_id uuid,
  execution_id uuid,
  body bytea NOT NULL,
  salt bytea NOT NULL CHECK (length(salt) = 16),
  leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
  PRIMARY KEY (recorded_at, event_id)
) PARTITION BY RANGE (recorded_at);
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;
CREATE INDEX audit_event_unsequenced ON audit_event (recorded_at, event_id) WHERE position IS NULL;
-- All but the first leave rows without a position out: such a row enters them once, when it gets one.
CREATE INDEX audit_event_position ON audit_event (tenant_id, position) WHERE position IS NOT NULL;
-- For one position. A hash, because an ordered one would tempt the planner to walk the events of all tenants for one tenant's page.
CREATE INDEX audit_event_global_position ON audit_event USING hash (position) WHERE position IS NOT NULL;
CREATE INDEX audit_event_action ON audit_event (tenant_id, action, position) WHERE position IS NOT NULL;
CREATE INDEX audit_event_actor ON audit_event (tenant_id, actor, position) WHERE position IS NOT NULL;
CREATE INDEX audit_event_decision ON audit_event (tenant_id, decision, position) WHERE position IS NOT NULL AND decision <> 'none';
CREATE INDEX audit_event_plan ON audit_event (tenant_id, plan_id, position) WHERE position IS NOT NULL AND plan_id IS NOT NULL;
CREATE INDEX audit_event_execution ON audit_event (tenant_id, execution_id, position) WHERE position IS NOT NULL AND execution_id IS NOT NULL;

-- Nodes of the RFC 6962 tree: level 0 are leaves by position, level n covers 2^n complete leaves.
CREATE TABLE merkle_node (
  level smallint NOT NULL CHECK (level BETWEEN 0 AND 62),
  index bigint NOT NULL CHECK (index >= 0),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, index)
);

-- One row: how far the log has been sequenced, and by whom.
CREATE TABLE audit_head (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
  epoch bigint NOT NULL DEFAULT 0,
  sequenced_at timestamptz
);
INSERT INTO audit_head DEFAULT VALUES;

-- Signed heads of the log, as C2SP signed notes.
CREATE TABLE checkpoint (
  size bigint PRIMARY KEY CHECK (size >= 0),
  root bytea NOT NULL CHECK (length(root) = 32),
  generation bigint NOT NULL,
  note text NOT NULL,
  -- When its newest leaf was recorded: with `signed_at`, turns a range of times into a range of positions.
  newest_recorded_at timestamptz NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  published_at timestamptz
);
CREATE INDEX checkpoint_signed ON checkpoint (signed_at);
CREATE INDEX checkpoint_newest ON checkpoint (newest_recorded_at);
CREATE INDEX checkpoint_unpublished ON checkpoint (size) WHERE published_at IS NULL;

SELECT isolate_tenants('audit_event');
-- The sequencer orders the rows of all tenants; it reads no bodies and changes nothing but the position.
CREATE POLICY sequencer_reads ON audit_event FOR SELECT TO carapulse_sequencer USING (true);
CREATE POLICY sequencer_positions ON audit_event FOR UPDATE TO carapulse_sequencer USING (position IS NULL) WITH CHECK (true);

-- Partitions for this month and the next two; run by the orchestrator, with the owner's rights.
CREATE FUNCTION ensure_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  parent text;
  month date;
  child text;
BEGIN
  FOR parent IN SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid LOOP
    FOR i IN 0..2 LOOP
      month := (date_trunc('month', db_now()) + make_interval(months => i))::date;
      child := parent || to_char(month, '_YYYY_MM');
      IF to_regclass(child) IS NULL THEN
        BEGIN
          EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            child, parent, month, (month + interval '1 month')::date);
        EXCEPTION WHEN check_violation THEN
          NULL; -- rows of that month already lie in the default partition: they stay there
        END;
      END IF;
    END LOOP;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION ensure_partitions() FROM PUBLIC;
SELECT ensure_partitions();
GRANT EXECUTE ON FUNCTION ensure_partitions() TO carapulse_orchestrator;

-- Position and time are the database's to give.
GRANT INSERT (event_id, tenant_id, action, actor, decision, subject, plan_id, execution_id, body, salt, leaf_hash), SELECT ON audit_event TO carapulse_gateway, carapulse_orchestrator, carapulse_router;
GRANT INSERT (event_id, tenant_id, action, actor, decision, subject, plan_id, execution_id, body, salt, leaf_hash) ON audit_event TO carapulse_sequencer;
GRANT SELECT (event_id, tenant_id, recorded_at, position, leaf_hash, action, subject, plan_id, execution_id) ON audit_event TO carapulse_sequencer;
GRANT UPDATE (position) ON audit_event TO carapulse_sequencer;
GRANT SELECT, INSERT ON merkle_node, checkpoint TO carapulse_sequencer;
GRANT SELECT, UPDATE ON audit_head TO carapulse_sequencer;
GRANT UPDATE (published_at) ON checkpoint TO carapulse_sequencer;
GRANT SELECT ON merkle_node, checkpoint, audit_head TO carapulse_gateway, carapulse_orchestrator;
GRANT SELECT, INSERT, UPDATE, DELETE ON job TO carapulse_orchestrator;
GRANT SELECT, INSERT ON job TO carapulse_gateway;
GRANT UPDATE (due_at) ON job TO carapulse_gateway;
GRANT SELECT, INSERT, UPDATE ON job TO carapulse_sequencer;
