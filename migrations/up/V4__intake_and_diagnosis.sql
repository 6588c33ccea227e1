-- What woke the system, what the world looked like, what was found, and messages to people.

CREATE TABLE incident (
  incident_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  group_key text NOT NULL CHECK (length(group_key) BETWEEN 1 AND 500),
  title text NOT NULL,
  target_id uuid REFERENCES target,
  status text NOT NULL CHECK (status IN ('open', 'resolved')),
  -- How far the investigation has come; each stage is idempotent on (incident, stage).
  stage text NOT NULL CHECK (stage IN ('received', 'context', 'diagnosed', 'planned', 'requested', 'escalated', 'suppressed', 'done')),
  opened_at timestamptz NOT NULL,
  resolved_at timestamptz
);
CREATE UNIQUE INDEX incident_open ON incident (tenant_id, group_key) WHERE status = 'open';
CREATE INDEX incident_list ON incident (tenant_id, incident_id);
CREATE INDEX incident_status ON incident (tenant_id, status, incident_id);

-- One row an alert, by fingerprint; deliveries of the same alert raise the counter.
CREATE TABLE signal (
  signal_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  source text NOT NULL,
  fingerprint text NOT NULL CHECK (length(fingerprint) BETWEEN 1 AND 200),
  status text NOT NULL CHECK (status IN ('firing', 'resolved')),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz,
  incident_id uuid REFERENCES incident,
  occurrences bigint NOT NULL DEFAULT 1,
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  body bytea NOT NULL
);
CREATE UNIQUE INDEX signal_fingerprint ON signal (tenant_id, source, fingerprint);
CREATE INDEX signal_incident ON signal (tenant_id, incident_id);

-- The raw deliveries, as they came.
CREATE TABLE delivery (
  delivery_id uuid NOT NULL,
  tenant_id text NOT NULL REFERENCES tenant,
  source text NOT NULL,
  body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
  body bytea NOT NULL,
  alerts integer NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (received_at, delivery_id)
) PARTITION BY RANGE (received_at);
CREATE TABLE delivery_default PARTITION OF delivery DEFAULT;

CREATE TABLE snapshot (
  snapshot_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  target_id uuid NOT NULL REFERENCES target,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  body bytea NOT NULL,
  collected_at timestamptz NOT NULL
);
CREATE INDEX snapshot_list ON snapshot (tenant_id, snapshot_id);
CREATE INDEX snapshot_digest ON snapshot (tenant_id, digest);

CREATE TABLE diagnosis (
  diagnosis_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  incident_id uuid NOT NULL REFERENCES incident,
  snapshot_id uuid REFERENCES snapshot,
  verdict text NOT NULL CHECK (verdict IN ('known', 'unknown', 'healthy')),
  body bytea NOT NULL,
  made_at timestamptz NOT NULL
);
CREATE INDEX diagnosis_incident ON diagnosis (tenant_id, incident_id);

CREATE TABLE notification (
  notification_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenant,
  kind text NOT NULL CHECK (kind IN ('approval_requested', 'escalation', 'needs_attention', 'rollback_failed', 'finished', 'admin_change')),
  severity text NOT NULL CHECK (severity IN ('info', 'page')),
  subject text NOT NULL,
  body bytea NOT NULL,
  dedupe_key text NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed', 'unconfigured')),
  attempts integer NOT NULL DEFAULT 0,
  last_error text,
  created_at timestamptz NOT NULL,
  delivered_at timestamptz
);
CREATE UNIQUE INDEX notification_once ON notification (tenant_id, dedupe_key);
CREATE INDEX notification_list ON notification (tenant_id, notification_id);
CREATE INDEX notification_status ON notification (tenant_id, status, notification_id);

SELECT isolate_tenants(t) FROM unnest(ARRAY['incident', 'signal', 'delivery', 'snapshot', 'diagnosis', 'notification']::regclass[]) AS t;
SELECT ensure_partitions();

GRANT SELECT, INSERT ON incident, signal, delivery, notification TO carapulse_gateway;
GRANT UPDATE ON signal, incident TO carapulse_gateway;
GRANT SELECT ON snapshot, diagnosis TO carapulse_gateway;
GRANT SELECT, INSERT ON incident, signal, snapshot, diagnosis, notification TO carapulse_orchestrator;
GRANT UPDATE ON incident, signal, notification TO carapulse_orchestrator;
GRANT SELECT ON delivery TO carapulse_orchestrator;
