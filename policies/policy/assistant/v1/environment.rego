# Where and when. The environment and the mode are properties of the registered target, never of the request.
package policy.assistant.v1

aliases := {"stage": "staging", "production": "prod"}

environments := {"local", "dev", "staging", "prod"}

environment := object.get(aliases, lower(input.target.environment), lower(input.target.environment))

violations contains violation("environment_unknown", "the target's environment is not local, dev, staging or prod") if {
	forward
	not environment_known
}

violations contains violation("target_unknown", "no target is named") if {
	forward
	not target_named
}

violations contains violation("target_observed", "the target is only observed: nothing may be planned for it") if {
	forward
	kind == "write"
	not mode_proposes
}

violations contains violation("target_not_acting", "the target takes proposals only: nothing may be executed on it") if {
	phase == "act"
	kind == "write"
	not mode_acts
}

violations contains violation("frozen", "changes are frozen") if {
	phase == "act"
	kind == "write"
	not unfrozen
}

violations contains violation("outside_window", "the change window is closed") if {
	phase == "act"
	kind == "write"
	not in_window
}

environment_known if environment in environments

target_named if named(input.target.name)

mode_proposes if input.target.mode in {"propose", "act"}

mode_acts if input.target.mode == "act"

unfrozen if input.flags.frozen == false

in_window if input.flags.in_window == true
