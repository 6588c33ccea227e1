# The answer. Everything starts at deny; only an input without any violation gets another answer.
package policy.assistant.v1

default decision := "deny"

decision := "allow" if {
	kind == "read"
	count(violations) == 0
}

decision := "require_approval" if {
	kind == "write"
	count(violations) == 0
}

# What callers read. `violations` is a set of {"code", "message"}; each file adds its own.
result := {
	"decision": decision,
	"violations": violations,
	"constraints": constraints,
	"ttl": ttl,
	"tier": tier,
	"tier_reasons": tier_reasons,
}

default ttl := 0

ttl := 300 if decision == "allow"

# These violations name every phase: an input that does not say who, what and where is nobody's approved rollback.
violations contains violation("phase_unknown", "the phase is not plan, act or rollback") if phase == "unknown"

violations contains violation("kind_unknown", "the action is neither read nor write") if kind == "unknown"

violations contains violation("action_unnamed", "the action has no name") if not action_named

violations contains violation("step_unknown", "the step that is acted on is not one of the plan's steps") if {
	phase in {"act", "rollback"}
	count(acted) != 1
}

violations contains violation("step_malformed", "a step lacks its stage, tool, action, risk, effect or guard") if {
	some step in steps
	not well_formed(step)
}

violations contains violation("steps_malformed", "the steps are not a list of at most 50") if not steps_listed

violations contains violation("kind_mismatch", "what is called a read writes") if {
	kind == "read"
	some step in acted
	writes(step)
}

violations contains violation("kind_mismatch", "what is called a write does not write") if {
	kind == "write"
	count(acted) > 0
	count([step | some step in acted; writes(step)]) == 0
}

action_named if named(input.action.name)
