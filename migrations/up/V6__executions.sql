-- Executions: the journal is the only truth; the state column is its fold.

CREATE TABLE execution (
  execution_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  plan_id uuid NOT NULL REFERENCES plan,
  -- Null only for plans that do nothing but read.
  approval_id uuid REFERENCES approval,
  status text NOT NULL CHECK (status IN ('pending', 'running', 'needs_attention', 'rolling_back',
    'succeeded', 'failed', 'rolled_back', 'rollback_failed', 'cancelled')),
  generation bigint NOT NULL,
  -- The lease that may write: every change names the epoch it holds.
  epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  journal_length bigint NOT NULL DEFAULT 0 CHECK (journal_length >= 0),
  state bytea NOT NULL,
  -- When the last act ended and verification began; what settle time and window are counted from.
  verifying_since timestamptz,
  requested_by text NOT NULL,
  created_at timestamptz NOT NULL,
  started_at timestamptz,
  completed_at timestamptz,
  CHECK ((completed_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'rolled_back', 'rollback_failed', 'cancelled')))
);
-- An approval is good for one execution.
CREATE UNIQUE INDEX execution_approval ON execution (approval_id) WHERE approval_id IS NOT NULL;
CREATE UNIQUE INDEX execution_active ON execution (tenant_id, plan_id) WHERE completed_at IS NULL;
CREATE INDEX execution_list ON execution (tenant_id, execution_id);
CREATE INDEX execution_status ON execution (tenant_id, status, execution_id);
CREATE INDEX execution_plan ON execution (tenant_id, plan_id, execution_id);

-- An end is final, a start is set once, epochs and journals only grow, for every serving role.
CREATE FUNCTION guard_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') AND (
    OLD.completed_at IS NOT NULL OR NEW.epoch < OLD.epoch OR NEW.journal_length < OLD.journal_length
    OR (OLD.started_at IS NOT NULL AND NEW.started_at IS DISTINCT FROM OLD.started_at)
  ) THEN
    RAISE EXCEPTION 'an execution never goes back' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard_execution BEFORE UPDATE ON execution FOR EACH ROW EXECUTE FUNCTION guard_execution();

-- Every event that the machine was given, in order.
CREATE TABLE journal (
  execution_id uuid NOT NULL REFERENCES execution,
  seq bigint NOT NULL CHECK (seq >= 0),
  tenant_id text NOT NULL REFERENCES tenant,
  epoch bigint NOT NULL,
  event bytea NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (execution_id, seq)
);

-- What people ask of a running execution. Only the engine writes the journal: it applies these in order, or refuses them.
CREATE TABLE execution_request (
  request_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  execution_id uuid NOT NULL REFERENCES execution,
  event bytea NOT NULL,
  note text,
  requested_by text NOT NULL,
  requested_at timestamptz NOT NULL,
  applied_at timestamptz,
  refused text
);
CREATE INDEX execution_request_open ON execution_request (tenant_id, execution_id, request_id) WHERE applied_at IS NULL;

-- One attempt of one step, in the router's words. A write acts only after its row is committed as `claimed`.
CREATE TABLE attempt (
  execution_id uuid NOT NULL REFERENCES execution,
  step integer NOT NULL CHECK (step >= 0),
  direction text NOT NULL CHECK (direction IN ('forward', 'rollback')),
  attempt integer NOT NULL CHECK (attempt > 0),
  tenant_id text NOT NULL REFERENCES tenant,
  epoch bigint NOT NULL CHECK (epoch >= 0),
  status text NOT NULL CHECK (status IN ('claimed', 'done', 'failed', 'unknown', 'refused')),
  -- Journalled before the act: what a mark, a key or a probe is made of.
  nonce uuid NOT NULL,
  router_id uuid NOT NULL,
  claimed_at timestamptz NOT NULL,
  -- Renewed by the router that runs it; past this, the router has stopped it.
  alive_until timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL,
  ended_at timestamptz,
  -- Captured by this attempt before it acted: name → value, canonical bytes.
  prior bytea,
  -- What it answered: canonical bytes of {exit, result, stdout_ref, …}; redacted.
  result bytea,
  error_code text,
  error text,
  PRIMARY KEY (execution_id, step, direction, attempt),
  CHECK ((ended_at IS NOT NULL) = (status <> 'claimed'))
);
CREATE INDEX attempt_claimed ON attempt (tenant_id, execution_id) WHERE status = 'claimed';

-- Output of attempts in chunks of at most 64 KiB, redacted.
CREATE TABLE log_chunk (
  execution_id uuid NOT NULL,
  tenant_id text NOT NULL REFERENCES tenant,
  logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  chunk_id uuid NOT NULL,
  step integer NOT NULL,
  direction text NOT NULL CHECK (direction IN ('forward', 'rollback')),
  attempt integer NOT NULL,
  stream text NOT NULL CHECK (stream IN ('stdout', 'stderr', 'system')),
  level text NOT NULL CHECK (level IN ('info', 'warn', 'error')),
  -- Content address in the object store; or the bytes themselves while the store is out of reach.
  object_digest bytea,
  inline bytea,
  size_bytes integer NOT NULL CHECK (size_bytes BETWEEN 0 AND 65536),
  PRIMARY KEY (logged_at, chunk_id),
  CHECK ((object_digest IS NULL) <> (inline IS NULL))
) PARTITION BY RANGE (logged_at);
CREATE TABLE log_chunk_default PARTITION OF log_chunk DEFAULT;
CREATE INDEX log_chunk_execution ON log_chunk (tenant_id, execution_id, logged_at, chunk_id);

CREATE TABLE evidence (
  evidence_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  execution_id uuid NOT NULL REFERENCES execution,
  step integer,
  assertion text,
  type text NOT NULL CHECK (type IN ('promql', 'traceql', 'argocd', 'k8s', 'cloudtrail', 'git', 'log', 'grafana', 'scm')),
  query text,
  verdict text CHECK (verdict IN ('met', 'not_met', 'unknown')),
  body bytea NOT NULL,
  collected_at timestamptz NOT NULL
);
CREATE INDEX evidence_execution ON evidence (tenant_id, execution_id, evidence_id);

-- Who holds a target. Taken in sorted order, all or none, held to a terminal state.
CREATE TABLE target_lease (
  target_id uuid PRIMARY KEY REFERENCES target,
  tenant_id text NOT NULL REFERENCES tenant,
  execution_id uuid NOT NULL REFERENCES execution,
  taken_at timestamptz NOT NULL
);
CREATE INDEX target_lease_execution ON target_lease (tenant_id, execution_id);

SELECT isolate_tenants(t) FROM unnest(ARRAY['execution', 'execution_request', 'journal', 'attempt', 'log_chunk', 'evidence', 'target_lease']::regclass[]) AS t;
SELECT ensure_partitions();

GRANT SELECT, INSERT ON execution, execution_request TO carapulse_gateway;
GRANT SELECT ON journal TO carapulse_gateway;
GRANT SELECT ON attempt, log_chunk, evidence, target_lease TO carapulse_gateway;
GRANT SELECT ON execution, journal, attempt, log_chunk TO carapulse_orchestrator;
GRANT UPDATE (status, epoch, journal_length, state, verifying_since, started_at, completed_at) ON execution TO carapulse_orchestrator;
GRANT SELECT, UPDATE (applied_at, refused) ON execution_request TO carapulse_orchestrator;
GRANT INSERT ON journal TO carapulse_orchestrator;
GRANT SELECT, INSERT, DELETE ON target_lease TO carapulse_orchestrator;
GRANT SELECT, INSERT ON evidence TO carapulse_orchestrator;
GRANT SELECT ON execution, journal, target_lease TO carapulse_router;
GRANT SELECT, INSERT ON attempt, log_chunk TO carapulse_router;
GRANT UPDATE (status, epoch, nonce, router_id, claimed_at, alive_until, deadline_at, ended_at, prior, result, error_code, error)
  ON attempt TO carapulse_router;
