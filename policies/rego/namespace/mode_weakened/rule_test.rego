package bulkhead.rules.namespace.mode_weakened_test

import data.bulkhead.rules.namespace.mode_weakened

anyone := {"username": "dev", "groups": [], "mayWeaken": false, "trusted": false}

test_weaker[note] if {
	some note, change in {
		"enforce to audit": [{"bulkhead.dev/mode": "enforce"}, {"bulkhead.dev/mode": "audit"}],
		"enforce to observe": [{"bulkhead.dev/mode": "enforce"}, {"bulkhead.dev/mode": "observe"}],
		"audit to observe": [{"bulkhead.dev/mode": "audit"}, {"bulkhead.dev/mode": "observe"}],
		"enforce removed": [{"bulkhead.dev/mode": "enforce"}, {}],
		"audit removed": [{"bulkhead.dev/mode": "audit"}, {}],
		"enforce misspelt": [{"bulkhead.dev/mode": "enforce"}, {"bulkhead.dev/mode": "Enforce"}],
	}
	found := mode_weakened.violation with input as updated(change[0], change[1], anyone)
	{v.path | some v in found} == {"metadata.labels[bulkhead.dev/mode]"}
}

test_not_weaker[note] if {
	some note, change in {
		"observe to enforce": [{"bulkhead.dev/mode": "observe"}, {"bulkhead.dev/mode": "enforce"}],
		"audit to enforce": [{"bulkhead.dev/mode": "audit"}, {"bulkhead.dev/mode": "enforce"}],
		"unlabelled to observe": [{}, {"bulkhead.dev/mode": "observe"}],
		"observe removed": [{"bulkhead.dev/mode": "observe"}, {}],
		"another label": [{"bulkhead.dev/mode": "enforce"}, {"bulkhead.dev/mode": "enforce", "a": "b"}],
	}
	found := mode_weakened.violation with input as updated(change[0], change[1], anyone)
	count(found) == 0
}

test_all_labels_removed if {
	doc := {
		"operation": "UPDATE", "params": {}, "user": anyone,
		"object": {"kind": "Namespace", "metadata": {"name": "shop"}},
		"oldObject": {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"bulkhead.dev/mode": "enforce"}}},
	}
	some v in mode_weakened.violation with input as doc
	contains(v.message, "from mode enforce to observe (no label)")
	contains(v.message, "dev")
}

test_allowed_users[note] if {
	some note, grant in {"by RBAC": {"mayWeaken": true}, "bulkhead itself": {"trusted": true}}
	who := object.union(anyone, grant)
	found := mode_weakened.violation with input as updated({"bulkhead.dev/mode": "enforce"}, {}, who)
	count(found) == 0
}

test_profile_left[note] if {
	some note, change in {
		"changed": [{"bulkhead.dev/profile": "strict"}, {"bulkhead.dev/profile": "lax"}],
		"removed": [{"bulkhead.dev/profile": "strict"}, {}],
		"away from the default": [{}, {"bulkhead.dev/profile": "lax"}],
	}
	found := mode_weakened.violation with input as updated(change[0], change[1], anyone)
	{v.path | some v in found} == {"metadata.labels[bulkhead.dev/profile]"}
}

test_standard_profile_is_the_default if {
	found := mode_weakened.violation with input as updated({}, {"bulkhead.dev/profile": "standard"}, anyone)
	count(found) == 0
}

test_weakened_while_being_deleted if {
	doc := updated({"bulkhead.dev/mode": "enforce"}, {"bulkhead.dev/mode": "observe"}, anyone)
	going := object.union(doc, {"object": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}})
	count(mode_weakened.violation) == 1 with input as going
}

test_deletion_can_finish if {
	labels := {"bulkhead.dev/mode": "enforce"}
	doc := updated(labels, labels, anyone)
	going := object.union(doc, {"object": {
		"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
		"spec": {"finalizers": []},
	}})
	count(mode_weakened.violation) == 0 with input as going
}

test_created_weaker_than_the_default if {
	found := mode_weakened.violation with input as created({"bulkhead.dev/mode": "observe"}, {"defaultMode": "audit"})
	count(found) == 1
}

test_created_in_the_default if {
	found := mode_weakened.violation with input as created({"bulkhead.dev/mode": "audit"}, {"defaultMode": "audit"})
	count(found) == 0
}

test_created_when_the_default_is_not_known if {
	count(mode_weakened.violation) == 0 with input as created({"bulkhead.dev/mode": "observe"}, {})
}

test_created_when_the_default_is_no_mode if {
	found := mode_weakened.violation with input as created({"bulkhead.dev/mode": "audit"}, {"defaultMode": "strict"})
	count(found) == 1
}

test_created_system_namespace if {
	doc := object.union(created({}, {"defaultMode": "enforce"}), {"object": {"metadata": {"name": "kube-system"}}})
	count(mode_weakened.violation) == 0 with input as doc
}

created(labels, params) := {
	"operation": "CREATE", "params": params, "user": anyone,
	"object": namespace(labels),
	"oldObject": null,
}

updated(before, after, user) := {
	"operation": "UPDATE", "params": {}, "user": user,
	"object": namespace(after),
	"oldObject": namespace(before),
}

namespace(labels) := {"kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
