package policy.assistant.v1

act := object.union(sample, {"action": {"phase": "act"}, "step": 0})

rollback := object.union(sample, {"action": {"phase": "rollback"}, "step": 0})

test_environments_are_a_closed_set if {
	"environment_unknown" in codes with input as object.union(sample, {"target": {"environment": "moon"}})
	"environment_unknown" in codes with input as object.union(sample_read, {"target": {"environment": ""}})
	"environment_unknown" in codes with input as object.remove(sample_read, ["target"])
}

test_aliases_and_case if {
	environment == "prod" with input as object.union(sample, {"target": {"environment": "Production"}})
	environment == "staging" with input as object.union(sample, {"target": {"environment": "STAGE"}})
}

test_observed_targets_are_only_read if {
	"target_observed" in codes with input as object.union(sample, {"target": {"mode": "observe"}})
	decision == "allow" with input as object.union(sample_read, {"target": {"mode": "observe"}})
}

test_proposals_are_not_executed if {
	"target_not_acting" in codes with input as object.union(act, {"target": {"mode": "propose"}})
}

test_a_freeze_stops_acts_and_no_rollback if {
	"frozen" in codes with input as object.union(act, {"flags": {"frozen": true}})
	"frozen" in codes with input as object.remove(act, ["flags"])
	decision == "require_approval" with input as object.union(rollback, {"flags": {"frozen": true}})
}

test_a_closed_window_stops_acts_and_no_rollback if {
	"outside_window" in codes with input as object.union(act, {"flags": {"in_window": false}})
	decision == "require_approval" with input as object.union(rollback, {"flags": {"in_window": false}})
}
