# Writes: always approved by somebody else, by an admin when more is at stake.
package policy.assistant.v1

violations contains violation("no_steps", "a plan that writes has no steps") if {
	phase == "plan"
	kind == "write"
	count(steps) == 0
}

violations contains violation("risk_understated", "the stated risk is below that of a step") if {
	forward
	some step in steps
	risk_rank[step.risk] > risk_rank[input.risk.level]
}

violations contains violation("risk_understated", "a write is called harmless") if {
	forward
	kind == "write"
	input.risk.level == "read"
}

violations contains violation("blast_radius_unknown", "the blast radius is not namespace, cluster or account") if {
	forward
	kind == "write"
	not blast_radius_known
}

violations contains violation("targets_uncounted", "nobody counted what is touched") if {
	forward
	kind == "write"
	not targets_counted
}

violations contains violation("too_many_targets", "more is touched at once than is allowed here") if {
	forward
	kind == "write"
	input.risk.targets > max_targets
}

# The live gate: what was approved must still be enough.
violations contains violation("tier_too_low", "this now needs an elevated approval") if {
	phase == "act"
	kind == "write"
	tier == "elevated"
	not approved_elevated
}

blast_radius_known if input.risk.blast_radius in {"namespace", "cluster", "account"}

approved_elevated if input.risk.tier == "elevated"

unprotected if input.target.protected == false

reversible(step) if step.irreversible == false

targets_counted if {
	is_number(input.risk.targets)
	input.risk.targets > 0
}

default max_targets := 50

max_targets := 10 if environment == "prod"

default tier := "elevated"

tier := "read" if kind == "read"

tier := "standard" if {
	kind == "write"
	count(tier_reasons) == 0
}

tier_reasons contains "high_risk" if {
	kind == "write"
	input.risk.level == "high"
}

tier_reasons contains "high_risk" if {
	kind == "write"
	some step in steps
	step.risk == "high"
}

tier_reasons contains "irreversible" if {
	kind == "write"
	some step in steps
	not reversible(step)
}

tier_reasons contains "opaque" if {
	kind == "write"
	some step in steps
	step.effect == "opaque"
}

tier_reasons contains "unguarded" if {
	kind == "write"
	some step in steps
	writes(step)
	step.guard == "none"
}

tier_reasons contains "protected_target" if {
	kind == "write"
	not unprotected
}

tier_reasons contains "prod_account" if {
	kind == "write"
	environment == "prod"
	input.risk.blast_radius == "account"
}

default constraints := {"max_targets": 1, "approval_ttl_secs": 3600, "max_duration_secs": 900, "break_glass": false}

constraints := {
	"max_targets": max_targets,
	"approval_ttl_secs": approval_ttl_secs[tier],
	"max_duration_secs": 3600,
	"break_glass": break_glass_used,
}

approval_ttl_secs := {"read": 3600, "standard": 86400, "elevated": 14400}
