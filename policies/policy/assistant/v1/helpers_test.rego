package policy.assistant.v1

# A question with everything in place; the other tests change one fact of it.
sample_step := {
	"ordinal": 0,
	"stage": "act",
	"tool": "kubectl",
	"action": "scale",
	"risk": "medium",
	"effect": "converge",
	"guard": "native",
	"irreversible": false,
}

sample := {
	"action": {"name": "plan.check", "kind": "write", "phase": "plan"},
	"actor": {"kind": "person", "name": "ada", "role": "operator", "tenant": "default", "person_id": "person_1"},
	"tenant": "default",
	"target": {"name": "shop", "tenant": "default", "environment": "staging", "mode": "act", "protected": false},
	"steps": [sample_step],
	"risk": {"level": "medium", "tier": "standard", "targets": 1, "blast_radius": "namespace"},
	"flags": {"frozen": false, "in_window": true, "break_glass": false},
}

sample_read := object.union(sample, {
	"action": {"kind": "read"},
	"actor": {"role": "viewer"},
	"steps": [object.union(sample_step, {"stage": "diagnose", "action": "get", "risk": "read", "effect": "none"})],
	"risk": {"level": "read", "tier": "read"},
})

codes contains found.code if some found in violations

test_names_are_not_blank if {
	named("x")
	not named(" ")
	not named(1)
}

test_what_is_not_plainly_a_read_writes if {
	writes({"effect": "converge"})
	writes({"effect": "unheard-of"})
	writes({})
	not writes({"effect": "none"})
}

test_acted_is_all_steps_when_planning if count(acted) == 1 with input as sample

test_acted_is_one_step_when_acting if {
	some_act := object.union(sample, {"action": {"phase": "act"}, "step": 0})
	count(acted) == 1 with input as some_act
	another := object.union(sample, {"action": {"phase": "act"}, "step": 1})
	count(acted) == 0 with input as another
}
