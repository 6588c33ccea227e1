package policy.assistant.v1

changed_step(changes) := object.union(sample, {"steps": [object.union(sample_step, changes)]})

test_no_steps_no_write if {
	"no_steps" in codes with input as object.union(sample, {"steps": []})
}

test_risk_cannot_be_talked_down if {
	"risk_understated" in codes with input as changed_step({"risk": "high"})
	"risk_understated" in codes with input as object.union(sample, {"risk": {"level": "low"}})
}

test_high_risk_is_elevated if {
	tier == "elevated" with input as object.union(changed_step({"risk": "high"}), {"risk": {"level": "high"}})
}

test_what_cannot_be_undone_or_seen_is_elevated if {
	tier_reasons == {"irreversible"} with input as changed_step({"irreversible": true})
	tier_reasons == {"opaque"} with input as changed_step({"effect": "opaque"})
	tier_reasons == {"unguarded"} with input as changed_step({"guard": "none"})
}

test_protected_targets_and_accounts_in_prod_are_elevated if {
	tier_reasons == {"protected_target"} with input as object.union(sample, {"target": {"protected": true}})
	tier_reasons == {"prod_account"} with input as object.union(sample, {
		"target": {"environment": "prod"},
		"risk": {"blast_radius": "account"},
	})
}

test_limits_on_targets if {
	prod := object.union(sample, {"target": {"environment": "prod"}})
	decision == "require_approval" with input as object.union(prod, {"risk": {"targets": 10}})
	"too_many_targets" in codes with input as object.union(prod, {"risk": {"targets": 11}})
	"too_many_targets" in codes with input as object.union(sample, {"risk": {"targets": 51}})
	"targets_uncounted" in codes with input as object.union(sample, {"risk": {"targets": 0}})
}

test_an_act_under_too_low_an_approval_is_denied if {
	"tier_too_low" in codes with input as object.union(sample, {
		"action": {"phase": "act"},
		"step": 0,
		"target": {"protected": true},
	})
}

test_constraints_follow_place_and_tier if {
	constraints.max_targets == 10 with input as object.union(sample, {"target": {"environment": "prod"}})
	constraints.approval_ttl_secs == 86400 with input as sample
	constraints.approval_ttl_secs == 14400 with input as object.union(sample, {"target": {"protected": true}})
}
