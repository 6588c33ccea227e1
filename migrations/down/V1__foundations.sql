-- seeds: installation=1 tenant=1
DROP FUNCTION IF EXISTS isolate_tenants(regclass);
DROP TABLE IF EXISTS tenant;
DROP FUNCTION IF EXISTS current_tenant();
DROP FUNCTION IF EXISTS db_now();
DROP TABLE IF EXISTS installation;
REVOKE USAGE ON SCHEMA public FROM carapulse_gateway, carapulse_orchestrator, carapulse_router, carapulse_sequencer;
