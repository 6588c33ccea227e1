# Break-glass changes which approvals are needed (one admin, with a reason, for a while): all other rules stay.
package policy.assistant.v1

default break_glass_used := false

break_glass_used if input.flags.break_glass == true

violations contains violation("break_glass_refused", "only an admin, in person, may break the glass") if {
	forward
	not glass_whole
	not admin_in_person
}

glass_whole if input.flags.break_glass == false

admin_in_person if {
	input.actor.role == "admin"
	input.actor.kind == "person"
	named(input.actor.person_id)
}
