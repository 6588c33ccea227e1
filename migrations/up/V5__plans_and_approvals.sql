-- Policy, plans, approvals.

-- Bundles by digest. Folders only submit; the active one is one pointer, moved by compare-and-swap.
CREATE TABLE policy_bundle (
  digest bytea PRIMARY KEY CHECK (length(digest) = 32),
  body bytea NOT NULL,
  submitted_by text NOT NULL,
  submitted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE policy_active (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  digest bytea NOT NULL REFERENCES policy_bundle,
  version bigint NOT NULL CHECK (version > 0),
  activated_by text NOT NULL,
  activated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Exact inputs and answers of every decision.
CREATE TABLE policy_decision (
  decision_id uuid NOT NULL,
  tenant_id text NOT NULL REFERENCES tenant,
  decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  bundle_digest bytea NOT NULL,
  action text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('allow', 'deny', 'require_approval')),
  plan_id uuid,
  execution_id uuid,
  step integer,
  input bytea NOT NULL,
  output bytea NOT NULL,
  PRIMARY KEY (decided_at, decision_id)
) PARTITION BY RANGE (decided_at);
CREATE TABLE policy_decision_default PARTITION OF policy_decision DEFAULT;
CREATE INDEX policy_decision_plan ON policy_decision (tenant_id, plan_id) WHERE plan_id IS NOT NULL;
CREATE INDEX policy_decision_execution ON policy_decision (tenant_id, execution_id) WHERE execution_id IS NOT NULL;

-- Definitions of tool actions, by semantic digest: what a digest in a plan means.
CREATE TABLE action_definition (
  digest bytea PRIMARY KEY CHECK (length(digest) = 32),
  tool text NOT NULL,
  action text NOT NULL,
  body bytea NOT NULL,
  first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A plan is its `doc`, whose digest is `digest`. Every other column is for search and display: nothing executes from it.
CREATE TABLE plan (
  plan_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  status text NOT NULL CHECK (status IN ('draft', 'pending_approval', 'approved', 'denied', 'expired', 'superseded', 'executed')),
  doc_version smallint NOT NULL,
  doc bytea NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  trigger text NOT NULL CHECK (trigger IN ('manual', 'alert', 'webhook', 'scheduled', 'workflow')),
  summary text NOT NULL,
  intent text,
  risk_level text NOT NULL CHECK (risk_level IN ('read', 'low', 'medium', 'high')),
  target_name text,
  incident_id uuid REFERENCES incident,
  requester_person_id uuid,
  -- What a draft lacks before it can be checked; empty for every other status.
  lacks text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX plan_list ON plan (tenant_id, plan_id);
CREATE INDEX plan_status ON plan (tenant_id, status, plan_id);
CREATE INDEX plan_incident ON plan (tenant_id, incident_id, plan_id) WHERE incident_id IS NOT NULL;
CREATE INDEX plan_target ON plan (tenant_id, target_name, plan_id) WHERE target_name IS NOT NULL;

-- Display rows of the steps, for lists and search.
CREATE TABLE plan_step (
  plan_id uuid NOT NULL REFERENCES plan,
  ordinal integer NOT NULL CHECK (ordinal >= 0),
  tenant_id text NOT NULL REFERENCES tenant,
  stage text NOT NULL CHECK (stage IN ('diagnose', 'act', 'verify', 'annotate')),
  tool text NOT NULL,
  action text NOT NULL,
  risk_level text NOT NULL,
  PRIMARY KEY (plan_id, ordinal)
);
CREATE INDEX plan_step_action ON plan_step (tenant_id, tool, action);

-- A request for approval of exactly one digest. One may be open a plan.
CREATE TABLE approval (
  approval_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  plan_id uuid NOT NULL REFERENCES plan,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  tier text NOT NULL CHECK (tier IN ('standard', 'elevated')),
  status text NOT NULL CHECK (status IN ('pending', 'granted', 'denied', 'expired', 'consumed', 'revoked')),
  requested_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  decided_at timestamptz,
  decided_by text,
  note text
);
CREATE UNIQUE INDEX approval_open ON approval (tenant_id, plan_id) WHERE status IN ('pending', 'granted');
CREATE INDEX approval_plan ON approval (tenant_id, plan_id);
CREATE INDEX approval_status ON approval (tenant_id, status, approval_id);

-- The signed yes. Only the gateway's database role can insert one; nobody can change or delete one.
CREATE TABLE approval_grant (
  approval_id uuid PRIMARY KEY REFERENCES approval,
  tenant_id text NOT NULL REFERENCES tenant,
  -- Canonical bytes of what was signed: approval, plan digest, approver, tier, expiry, generation.
  statement bytea NOT NULL,
  key_id text NOT NULL,
  signature bytea NOT NULL CHECK (length(signature) = 64),
  approver_person_id uuid NOT NULL REFERENCES person,
  granted_at timestamptz NOT NULL
);

-- Ends are final, and only the gateway's role says yes: what the code promises holds for every serving role in the database, too.
CREATE FUNCTION guard_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user NOT IN ('carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer') THEN
    RETURN NEW;
  END IF;
  IF OLD.status IN ('denied', 'expired', 'superseded', 'executed', 'consumed', 'revoked') AND NEW.status <> OLD.status THEN
    RAISE EXCEPTION '% is final: it cannot become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.status <> OLD.status AND NEW.status IN ('granted', 'consumed', 'approved', 'executed') AND current_user <> 'carapulse_gateway' THEN
    RAISE EXCEPTION 'only the gateway makes it %', NEW.status USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard_status BEFORE UPDATE OF status ON plan FOR EACH ROW EXECUTE FUNCTION guard_status();
CREATE TRIGGER guard_status BEFORE UPDATE OF status ON approval FOR EACH ROW EXECUTE FUNCTION guard_status();

CREATE TABLE idempotency_key (
  tenant_id text NOT NULL REFERENCES tenant,
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  route text NOT NULL,
  token_id uuid NOT NULL,
  body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
  status smallint NOT NULL,
  response bytea NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, token_id, route, key)
);

SELECT isolate_tenants(t) FROM unnest(ARRAY['policy_decision', 'plan', 'plan_step', 'approval', 'approval_grant', 'idempotency_key']::regclass[]) AS t;
SELECT ensure_partitions();

GRANT SELECT, INSERT ON policy_bundle, action_definition TO carapulse_gateway, carapulse_orchestrator, carapulse_router;
GRANT SELECT, INSERT, UPDATE ON policy_active TO carapulse_gateway;
GRANT SELECT ON policy_active TO carapulse_orchestrator, carapulse_router;
GRANT SELECT, INSERT ON policy_decision TO carapulse_gateway, carapulse_orchestrator, carapulse_router;
GRANT SELECT, INSERT ON plan, plan_step, approval TO carapulse_gateway, carapulse_orchestrator;
GRANT UPDATE (status, updated_at) ON plan TO carapulse_gateway, carapulse_orchestrator;
GRANT UPDATE (status, decided_at, decided_by, note) ON approval TO carapulse_gateway, carapulse_orchestrator;
GRANT SELECT, INSERT ON approval_grant TO carapulse_gateway;
GRANT SELECT ON approval_grant TO carapulse_orchestrator;
GRANT SELECT ON plan, approval, approval_grant TO carapulse_router;
GRANT SELECT, INSERT, DELETE ON idempotency_key TO carapulse_gateway;
