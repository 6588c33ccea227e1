# Reads need a known actor, a known place and a known risk, and no more.
package policy.assistant.v1

violations contains violation("risk_unknown", "the risk is not read, low, medium or high") if not risk_known

violations contains violation("risk_mismatch", "a read has a risk above read") if {
	forward
	kind == "read"
	phase == "plan"
	not risk_is_read
}

risk_known if risk_rank[input.risk.level] >= 0

risk_is_read if input.risk.level == "read"
