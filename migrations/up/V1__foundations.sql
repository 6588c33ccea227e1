-- Roles, database time, the installation row and tenants.
-- Roles belong to the whole cluster: they are made when missing and never dropped by a down migration.

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['carapulse_gateway', 'carapulse_orchestrator', 'carapulse_router', 'carapulse_sequencer'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- another database of this cluster is being migrated at the same moment
      END;
    END IF;
  END LOOP;
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO carapulse_gateway, carapulse_orchestrator, carapulse_router, carapulse_sequencer;

-- One row: which installation this is, and which generation of it. A restore raises the generation, and with it voids
-- every signature, lease and epoch that carries the old one.
CREATE TABLE installation (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  installation_id uuid NOT NULL DEFAULT gen_random_uuid(),
  generation bigint NOT NULL DEFAULT 1 CHECK (generation > 0),
  read_only boolean NOT NULL DEFAULT false,
  frozen boolean NOT NULL DEFAULT false,
  frozen_reason text,
  clock_offset interval NOT NULL DEFAULT '0',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO installation DEFAULT VALUES;

-- Database time: what leases, deadlines and expiry are compared with. Tests move it by the offset; only the owner can.
CREATE FUNCTION db_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
  RETURN clock_timestamp() + (SELECT clock_offset FROM installation);

-- The tenant of the present transaction; null outside one, and then no row is seen.
CREATE FUNCTION current_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('carapulse.tenant', true), '');

CREATE TABLE tenant (
  tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[a-z][a-z0-9-]{0,39}$'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO tenant (tenant_id) VALUES ('default');

-- Row-level isolation of one table: nobody, its owner included, sees or writes a row of another tenant.
CREATE FUNCTION isolate_tenants(tbl regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tbl);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tbl);
  EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))', tbl);
END $$;

GRANT SELECT ON installation, tenant TO carapulse_gateway, carapulse_orchestrator, carapulse_router, carapulse_sequencer;
GRANT UPDATE (frozen, frozen_reason, read_only) ON installation TO carapulse_gateway;
