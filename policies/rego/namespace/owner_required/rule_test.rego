package bulkhead.rules.namespace.owner_required_test

import data.bulkhead.rules.namespace.owner_required

test_create_without_owner if {
	some v in owner_required.violation with input as created("shop", {})
	v.path == "metadata.labels[bulkhead.dev/owner]"
	contains(v.message, "shop")
}

test_create_without_labels if {
	count(owner_required.violation) == 1 with input as {
		"operation": "CREATE",
		"params": {},
		"object": {"kind": "Namespace", "metadata": {"name": "shop"}},
	}
}

test_create_with_blank_owner if {
	count(owner_required.violation) == 1 with input as created("shop", {"bulkhead.dev/owner": " "})
}

test_create_with_owner if {
	count(owner_required.violation) == 0 with input as created("shop", {"bulkhead.dev/owner": "web"})
}

test_system_namespace_is_exempt if {
	count(owner_required.violation) == 0 with input as created("kube-system", {})
}

test_label_is_a_parameter if {
	doc := object.union(created("shop", {"bulkhead.dev/owner": "web"}), {"params": {"label": "team"}})
	some v in owner_required.violation with input as doc
	v.path == "metadata.labels[team]"
}

test_exempt_is_a_parameter if {
	doc := object.union(created("shop", {}), {"params": {"exempt": ["shop"]}})
	count(owner_required.violation) == 0 with input as doc
}

test_owner_removed if {
	count(owner_required.violation) == 1 with input as updated({"bulkhead.dev/owner": "web"}, {})
}

test_never_had_an_owner if {
	count(owner_required.violation) == 0 with input as updated({}, {"x": "y"})
}

test_being_deleted if {
	doc := updated({"bulkhead.dev/owner": "web"}, {})
	going := object.union(doc, {"object": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}})
	count(owner_required.violation) == 0 with input as going
}

test_other_kinds if {
	doc := object.union(created("shop", {}), {"object": {"kind": "Pod"}})
	count(owner_required.violation) == 0 with input as doc
}

created(name, labels) := {
	"operation": "CREATE",
	"params": {},
	"object": namespace(name, labels),
	"oldObject": null,
}

updated(before, after) := {
	"operation": "UPDATE",
	"params": {},
	"object": namespace("shop", after),
	"oldObject": namespace("shop", before),
}

namespace(name, labels) := {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}
