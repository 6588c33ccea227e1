# Words and small functions that the other files use. Nothing here decides.
#
# A negation in these files always names a rule or a function of a local variable (`not role_known`), never an expression
# over the input: an engine may evaluate such an operand before the negation, and an absent field would then switch the
# whole rule off instead of on.
package policy.assistant.v1

risk_rank := {"read": 0, "low": 1, "medium": 2, "high": 3}

violation(code, message) := {"code": code, "message": message}

named(name) if {
	is_string(name)
	trim_space(name) != ""
}

default phase := "unknown"

phase := input.action.phase if input.action.phase in {"plan", "act", "rollback"}

default kind := "unknown"

kind := input.action.kind if input.action.kind in {"read", "write"}

# Planning and acting; a rule that does not name the rollback phase must not stop a rollback.
forward if phase != "rollback"

default steps := []

steps := input.steps if is_array(input.steps)

steps_listed if {
	is_array(input.steps)
	count(input.steps) <= 50
}

# The steps that this decision is about: all of them when planning, else the one being acted on.
acted contains step if {
	phase == "plan"
	some step in steps
}

acted contains step if {
	phase in {"act", "rollback"}
	some step in steps
	step.ordinal == input.step
}

# Whatever is not plainly a read writes.
writes(step) if not reads(step)

reads(step) if step.effect == "none"

well_formed(step) if {
	is_number(step.ordinal)
	step.stage in {"diagnose", "act", "verify", "annotate"}
	named(step.tool)
	named(step.action)
	risk_rank[step.risk] >= 0
	step.effect in {"none", "converge", "keyed", "marked", "opaque"}
	step.guard in {"native", "checked", "none"}
	is_boolean(step.irreversible)
}
