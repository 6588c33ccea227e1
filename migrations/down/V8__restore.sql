DROP TRIGGER guard_read_only ON installation;
DROP FUNCTION guard_read_only();
REVOKE UPDATE (read_only) ON installation FROM carapulse_sequencer;
