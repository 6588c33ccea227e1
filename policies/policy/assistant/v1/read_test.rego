package policy.assistant.v1

test_reads_are_allowed_for_a_while if {
	result.decision == "allow" with input as sample_read
	result.ttl == 300 with input as sample_read
	result.tier == "read" with input as sample_read
}

test_an_unknown_risk_is_denied if {
	"risk_unknown" in codes with input as object.union(sample_read, {"risk": {"level": "tiny"}})
	"risk_unknown" in codes with input as object.remove(sample_read, ["risk"])
}

test_a_read_with_risk_is_denied if {
	"risk_mismatch" in codes with input as object.union(sample_read, {"risk": {"level": "low"}})
}
