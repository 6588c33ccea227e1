package policy.assistant.v1

test_an_empty_input_is_denied if {
	result.decision == "deny" with input as {}
	result.ttl == 0 with input as {}
}

test_a_null_input_is_denied if result.decision == "deny" with input as null

test_every_write_needs_an_approval if result.decision == "require_approval" with input as sample

test_a_low_write_needs_an_approval_too if {
	low := object.union(sample, {
		"steps": [object.union(sample_step, {"risk": "low"})],
		"risk": {"level": "low"},
	})
	result.decision == "require_approval" with input as low
}

test_an_unknown_phase_is_denied if {
	"phase_unknown" in codes with input as object.union(sample, {"action": {"phase": "later"}})
}

test_an_unknown_kind_is_denied if {
	"kind_unknown" in codes with input as object.union(sample, {"action": {"kind": "both"}})
}

test_a_write_called_a_read_is_denied if {
	"kind_mismatch" in codes with input as object.union(sample, {"action": {"kind": "read"}})
}

test_a_malformed_step_is_denied if {
	"step_malformed" in codes with input as object.union(sample, {"steps": [{"ordinal": 0}]})
}
