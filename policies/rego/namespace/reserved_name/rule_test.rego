package bulkhead.rules.namespace.reserved_name_test

import data.bulkhead.rules.namespace.reserved_name

anyone := {"username": "dev", "groups": ["system:authenticated"], "mayWeaken": false, "trusted": false}

test_reserved[name] if {
	some name in ["kube-system", "kube-anything", "openshift-ingress", "bulkhead-system"]
	some v in reserved_name.violation with input as created(name, anyone, {})
	v.path == "metadata.name"
	contains(v.message, name)
}

test_free[name] if {
	some name in ["shop", "kubernetes", "my-kube-app", "openshift", "bulkhead-system-2"]
	found := reserved_name.violation with input as created(name, anyone, {})
	count(found) == 0
}

test_allowed_by_group if {
	admin := object.union(anyone, {"groups": ["system:authenticated", "system:masters"]})
	count(reserved_name.violation) == 0 with input as created("kube-system", admin, {})
}

test_allowed_by_name if {
	count(reserved_name.violation) == 0 with input as created("kube-system", anyone, {"users": ["dev"]})
}

test_allowed_when_trusted if {
	trusted := object.union(anyone, {"trusted": true})
	count(reserved_name.violation) == 0 with input as created("bulkhead-system", trusted, {})
}

test_names_are_parameters if {
	params := {"prefixes": ["corp-"], "names": ["vault"]}
	count(reserved_name.violation) == 1 with input as created("corp-x", anyone, params)
	count(reserved_name.violation) == 1 with input as created("vault", anyone, params)
	count(reserved_name.violation) == 0 with input as created("kube-x", anyone, params)
}

test_groups_are_a_parameter if {
	params := {"groups": ["system:authenticated"]}
	count(reserved_name.violation) == 0 with input as created("kube-x", anyone, params)
}

test_no_groups if {
	nobody := {"username": "dev", "groups": [], "mayWeaken": false, "trusted": false}
	count(reserved_name.violation) == 1 with input as created("kube-x", nobody, {})
}

test_update_and_delete_are_free[operation] if {
	some operation in ["UPDATE", "DELETE"]
	doc := object.union(created("kube-system", anyone, {}), {"operation": operation})
	found := reserved_name.violation with input as doc
	count(found) == 0
}

created(name, user, params) := {
	"operation": "CREATE", "params": params, "user": user,
	"object": {"kind": "Namespace", "metadata": {"name": name}},
	"oldObject": null,
}
