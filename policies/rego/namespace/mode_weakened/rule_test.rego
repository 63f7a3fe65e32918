package bulkhead.rules.namespace.mode_weakened_test

import data.bulkhead.rules.namespace.mode_weakened

anyone := {"username": "dev", "groups": [], "mayWeaken": false, "mayLeave": false, "trusted": false}

test_weaker[note] if {
	some note, modes in {
		"observe for enforce": ["observe", "enforce"],
		"audit for enforce": ["audit", "enforce"],
		"observe for audit": ["observe", "audit"],
		"misspelt": ["Enforce", "enforce"],
		"empty": ["", "audit"],
	}
	found := mode_weakened.violation with input as created({"bulkhead.dev/mode": modes[0]}, modes[1], anyone)
	{v.path | some v in found} == {"metadata.labels[bulkhead.dev/mode]"}
}

test_not_weaker[note] if {
	some note, modes in {
		"the same": ["audit", "audit"],
		"stronger": ["enforce", "audit"],
		"as weak as can be": ["observe", "observe"],
	}
	found := mode_weakened.violation with input as created({"bulkhead.dev/mode": modes[0]}, modes[1], anyone)
	count(found) == 0
}

test_no_labels if {
	doc := {
		"operation": "CREATE", "params": {}, "user": anyone, "profile": {"name": "strict", "startingMode": "enforce"},
		"object": {"kind": "Namespace", "metadata": {"name": "shop"}},
	}
	some v in mode_weakened.violation with input as doc
	v.message == "user dev may not create namespace shop in mode observe (no label): new namespaces of profile strict start in mode enforce"
}

test_allowed_users[note] if {
	some note, grant in {"by RBAC": {"mayWeaken": true}, "bulkhead itself": {"trusted": true}}
	found := mode_weakened.violation with input as created({}, "enforce", object.union(anyone, grant))
	count(found) == 0
}

test_profile_is_not_known[note] if {
	some note, profile in {"none": null, "no such profile": {"name": "x", "exists": false, "startingMode": ""}}
	doc := object.union(created({}, "enforce", anyone), {"profile": profile})
	found := mode_weakened.violation with input as doc
	count(found) == 0
}

# The API server judges updates by itself.
test_updates_are_left_alone if {
	doc := object.union(created({}, "enforce", anyone), {"operation": "UPDATE"})
	count(mode_weakened.violation) == 0 with input as doc
}

test_system_namespace if {
	doc := object.union(created({}, "enforce", anyone), {"object": {"metadata": {"name": "kube-system"}}})
	count(mode_weakened.violation) == 0 with input as doc
}

test_exempt_is_a_parameter if {
	doc := object.union(created({}, "enforce", anyone), {"params": {"exempt": ["shop"]}})
	count(mode_weakened.violation) == 0 with input as doc
}

test_other_kinds if {
	doc := object.union(created({}, "enforce", anyone), {"object": {"kind": "Pod"}})
	count(mode_weakened.violation) == 0 with input as doc
}

created(labels, starting, user) := {
	"operation": "CREATE", "params": {}, "user": user,
	"object": {"kind": "Namespace", "metadata": {"name": "shop", "labels": labels}},
	"oldObject": null,
	"profile": {"name": "standard", "exists": true, "startingMode": starting},
}
