-- seeds: audit_head=1
DROP FUNCTION IF EXISTS ensure_partitions();
DROP TABLE IF EXISTS checkpoint;
DROP TABLE IF EXISTS audit_head;
DROP TABLE IF EXISTS merkle_node;
DROP TABLE IF EXISTS audit_event;
DROP TABLE IF EXISTS job;
