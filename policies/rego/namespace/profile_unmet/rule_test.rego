package bulkhead.rules.namespace.profile_unmet_test

import data.bulkhead.rules.namespace.profile_unmet

anyone := {"username": "dev", "groups": [], "mayWeaken": false, "mayLeave": false, "trusted": false}

standard := {
	"name": "standard", "selected": "standard", "exists": true,
	"startingMode": "enforce", "minimumMode": "observe", "requiredLabels": [],
}

strict := object.union(standard, {"name": "strict", "minimumMode": "enforce"})

enforced := {"bulkhead.dev/mode": "enforce", "bulkhead.dev/profile": "standard"}

path_of_profile := "metadata.labels[bulkhead.dev/profile]"

path_of_mode := "metadata.labels[bulkhead.dev/mode]"

test_in_order if {
	count(profile_unmet.violation) == 0 with input as created(enforced, standard)
}

test_no_such_profile[note] if {
	some note, doc in {
		"created": created({"bulkhead.dev/profile": "x"}, missing),
		"given": updated({}, {"bulkhead.dev/profile": "x"}, missing),
		"changed": updated(enforced, {"bulkhead.dev/profile": "x"}, missing),
	}
	found := profile_unmet.violation with input as doc
	{v.path | some v in found} == {path_of_profile}
	{v | some v in found; contains(v.message, "there is no profile x")} == found
}

# Somebody deleted the profile: its namespaces can still be changed.
test_profile_is_gone if {
	labels := {"bulkhead.dev/profile": "x"}
	count(profile_unmet.violation) == 0 with input as updated(labels, object.union(labels, {"a": "b"}), missing)
}

test_other_profile_than_the_selected[note] if {
	some note, doc in {
		"created": created({"bulkhead.dev/profile": "lax"}, lax),
		"given": updated({}, {"bulkhead.dev/profile": "lax"}, lax),
	}
	found := profile_unmet.violation with input as doc
	{v.path | some v in found} == {path_of_profile}
}

test_other_profile_by_those_who_may[note] if {
	some note, grant in {"by RBAC": {"mayLeave": true}, "bulkhead itself": {"trusted": true}}
	doc := object.union(created({"bulkhead.dev/profile": "lax"}, lax), {"user": grant})
	found := profile_unmet.violation with input as doc
	count(found) == 0
}

# The API server asks for the permission to leave the old profile.
test_profile_changed if {
	found := profile_unmet.violation with input as updated(enforced, {"bulkhead.dev/profile": "lax"}, lax)
	count(found) == 0
}

test_required_label_missing[note] if {
	before := {"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "standard"}
	some note, doc in {
		"created": created(enforced, owned),
		"created, blank": created(object.union(enforced, {"team": " "}), owned),
		"taken away": updated(object.union(enforced, {"team": "web"}), enforced, owned),
		"stronger mode": updated(before, enforced, owned),
		"enrolled": updated({}, enforced, owned),
		"another profile": updated(object.union(before, {"bulkhead.dev/profile": "lax"}), before, owned),
	}
	found := profile_unmet.violation with input as doc
	{v.path | some v in found} == {"metadata.labels[team]"}
}

test_required_label_not_due[note] if {
	some note, doc in {
		"there": created(object.union(enforced, {"team": "web"}), owned),
		"changed": updated(object.union(enforced, {"team": "web"}), object.union(enforced, {"team": "shop"}), owned),
		"never there": updated(enforced, object.union(enforced, {"a": "b"}), owned),
		"stamped": updated({"bulkhead.dev/mode": "enforce"}, enforced, owned),
		"weaker mode": updated(enforced, object.union(enforced, {"bulkhead.dev/mode": "observe"}), owned),
	}
	found := profile_unmet.violation with input as doc
	count(found) == 0
}

test_mode_below_the_minimum[note] if {
	before := {"bulkhead.dev/mode": "enforce", "bulkhead.dev/profile": "strict"}
	some note, doc in {
		"created": created({"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "strict"}, selected(strict)),
		"weakened": updated(before, object.union(before, {"bulkhead.dev/mode": "audit"}), strict),
		"removed": updated(before, {"bulkhead.dev/profile": "strict"}, strict),
		"other profile": updated(
			{"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "standard"},
			{"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "strict"},
			strict,
		),
		"enrolled": updated({}, {"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "strict"}, selected(strict)),
	}
	found := profile_unmet.violation with input as doc
	{v.path | some v in found} == {path_of_mode}
}

test_below_the_minimum_whoever_asks if {
	doc := object.union(
		created({"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "strict"}, selected(strict)),
		{"user": {"trusted": true, "mayWeaken": true, "mayLeave": true}},
	)
	count(profile_unmet.violation) == 1 with input as doc
}

test_mode_not_due[note] if {
	audited := {"bulkhead.dev/mode": "audit", "bulkhead.dev/profile": "strict"}
	some note, doc in {
		"as it was": updated(audited, object.union(audited, {"a": "b"}), strict),
		"the starting mode without DNS": created(audited, object.union(selected(strict), {"startingMode": "audit"})),
		"strong enough": updated(audited, object.union(audited, {"bulkhead.dev/mode": "enforce"}), strict),
	}
	found := profile_unmet.violation with input as doc
	count(found) == 0
}

test_being_deleted if {
	doc := updated(object.union(enforced, {"team": "web"}), enforced, owned)
	going := object.union(doc, {"object": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}})
	count(profile_unmet.violation) == 0 with input as going
}

test_system_namespace if {
	doc := object.union(created({}, owned), {"object": {"metadata": {"name": "kube-system"}}})
	count(profile_unmet.violation) == 0 with input as doc
}

test_exempt_is_a_parameter if {
	doc := object.union(created({}, owned), {"params": {"exempt": ["shop"]}})
	count(profile_unmet.violation) == 0 with input as doc
}

test_not_known[note] if {
	some note, doc in {
		"no profile": object.union(created({}, owned), {"profile": null}),
		"no namespace": object.union(created({}, owned), {"object": {"kind": "Pod"}}),
		"deletion": {"operation": "DELETE", "params": {}, "user": anyone, "object": null, "oldObject": null, "profile": null},
	}
	found := profile_unmet.violation with input as doc
	count(found) == 0
}

missing := {
	"name": "x", "selected": "standard", "exists": false,
	"startingMode": "", "minimumMode": "", "requiredLabels": [],
}

lax := object.union(standard, {"name": "lax"})

owned := object.union(standard, {"requiredLabels": ["team"]})

selected(profile) := object.union(profile, {"selected": profile.name})

created(labels, profile) := {
	"operation": "CREATE", "params": {}, "user": anyone, "profile": profile,
	"object": namespace(labels),
	"oldObject": null,
}

updated(before, after, profile) := {
	"operation": "UPDATE", "params": {}, "user": anyone, "profile": profile,
	"object": namespace(after),
	"oldObject": namespace(before),
}

namespace(labels) := {"kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
