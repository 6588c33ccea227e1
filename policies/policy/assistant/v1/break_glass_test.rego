package policy.assistant.v1

test_only_an_admin_in_person_breaks_the_glass if {
	broken := object.union(sample, {"flags": {"break_glass": true}})
	"break_glass_refused" in codes with input as broken
	"break_glass_refused" in codes with input as object.union(broken, {"actor": {"role": "admin", "kind": "service"}})
	decision == "require_approval" with input as object.union(broken, {"actor": {"role": "admin"}})
}

test_break_glass_is_shown if {
	broken := object.union(sample, {"flags": {"break_glass": true}, "actor": {"role": "admin"}})
	constraints.break_glass == true with input as broken
	constraints.break_glass == false with input as sample
}

test_break_glass_lifts_no_freeze if {
	"frozen" in codes with input as object.union(sample, {
		"action": {"phase": "act"},
		"step": 0,
		"actor": {"role": "admin"},
		"flags": {"break_glass": true, "frozen": true},
	})
}
