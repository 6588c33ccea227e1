-- People, their logins, tokens and the places where actions may land.

CREATE TABLE person (
  person_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  -- Approvals of this person are refused until then: set when links, roles, targets or bundles change.
  barred_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX person_name ON person (tenant_id, name);

CREATE TABLE identity (
  identity_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  provider text NOT NULL CHECK (provider IN ('token', 'oidc', 'slack', 'linear', 'pagerduty')),
  subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
  person_id uuid REFERENCES person,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX identity_subject ON identity (tenant_id, provider, subject);
CREATE INDEX identity_person ON identity (tenant_id, person_id);

-- Bearer tokens: only a SHA-256 of the 256-bit secret is kept.
CREATE TABLE token (
  token_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
  actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
  role text NOT NULL CHECK (role IN ('source', 'viewer', 'operator', 'approver', 'admin')),
  kind text NOT NULL CHECK (kind IN ('person', 'service', 'source')),
  identity_id uuid REFERENCES identity,
  owner_person_id uuid REFERENCES person,
  source text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  CHECK ((kind = 'source') = (role = 'source')),
  CHECK ((kind = 'source') = (source IS NOT NULL)),
  CHECK (kind <> 'person' OR identity_id IS NOT NULL)
);
CREATE UNIQUE INDEX token_secret ON token (tenant_id, secret_hash);

-- The registry of places. `doc` holds the whole Target; the other columns are for search and constraints.
CREATE TABLE target (
  target_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  name text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  version bigint NOT NULL CHECK (version > 0),
  environment text NOT NULL,
  mode text NOT NULL CHECK (mode IN ('observe', 'propose', 'act')),
  doc bytea NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX target_name ON target (tenant_id, name);

-- A change of a target is proposed by one person and confirmed by another.
CREATE TABLE target_change (
  change_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  name text NOT NULL,
  base_version bigint NOT NULL CHECK (base_version >= 0),
  doc bytea NOT NULL,
  proposed_by uuid NOT NULL REFERENCES person,
  proposed_at timestamptz NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'confirmed', 'refused', 'superseded')),
  decided_by uuid REFERENCES person,
  decided_at timestamptz,
  CHECK (decided_by IS NULL OR decided_by <> proposed_by)
);
CREATE UNIQUE INDEX target_change_pending ON target_change (tenant_id, name) WHERE status = 'pending';

SELECT isolate_tenants(t) FROM unnest(ARRAY['person', 'identity', 'token', 'target', 'target_change']::regclass[]) AS t;

GRANT SELECT, INSERT ON person, identity, token, target, target_change TO carapulse_gateway;
GRANT UPDATE (barred_until) ON person TO carapulse_gateway;
GRANT UPDATE (person_id) ON identity TO carapulse_gateway;
GRANT UPDATE (revoked_at, expires_at) ON token TO carapulse_gateway;
GRANT UPDATE (version, environment, mode, doc, updated_at) ON target TO carapulse_gateway;
GRANT UPDATE (status, decided_by, decided_at) ON target_change TO carapulse_gateway;
GRANT SELECT ON person, identity, target TO carapulse_orchestrator, carapulse_router;
GRANT SELECT (token_id, tenant_id, owner_person_id, revoked_at) ON token TO carapulse_orchestrator, carapulse_router;
