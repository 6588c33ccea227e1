# Who may ask. Who may approve is not decided here: separation of duties is by person, in code.
package policy.assistant.v1

roles := {"source", "viewer", "operator", "approver", "admin"}

write_roles := {"operator", "approver", "admin"}

violations contains violation("actor_unknown", "nobody is named as the actor") if not actor_known

violations contains violation("role_unknown", "the actor's role is not a known one") if not role_known

violations contains violation("tenant_mismatch", "actor, target and request are not of one tenant") if not one_tenant

violations contains violation("role_not_allowed", "the actor's role may not write") if {
	forward
	kind == "write"
	not write_role
}

violations contains violation("role_not_allowed", "a webhook source only delivers signals") if {
	forward
	input.actor.role == "source"
}

role_known if input.actor.role in roles

write_role if input.actor.role in write_roles

actor_known if {
	named(input.actor.name)
	input.actor.kind in {"person", "service", "source", "system"}
}

one_tenant if {
	named(input.tenant)
	input.actor.tenant == input.tenant
	input.target.tenant == input.tenant
}
