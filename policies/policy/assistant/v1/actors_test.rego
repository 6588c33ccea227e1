package policy.assistant.v1

test_viewers_do_not_write if {
	"role_not_allowed" in codes with input as object.union(sample, {"actor": {"role": "viewer"}})
}

test_writers_may_ask if {
	every role in write_roles {
		decision == "require_approval" with input as object.union(sample, {"actor": {"role": role}})
	}
}

test_unknown_roles_are_denied if {
	"role_unknown" in codes with input as object.union(sample, {"actor": {"role": "service"}})
	"role_unknown" in codes with input as object.union(sample_read, {"actor": {"role": ""}})
}

test_nobody_is_denied if {
	"actor_unknown" in codes with input as object.union(sample_read, {"actor": {"name": ""}})
}

test_another_tenant_is_denied if {
	"tenant_mismatch" in codes with input as object.union(sample_read, {"target": {"tenant": "other"}})
	"tenant_mismatch" in codes with input as object.union(sample_read, {"actor": {"tenant": "other"}})
}
