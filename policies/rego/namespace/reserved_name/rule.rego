# Names that others give a meaning to are not for everybody.
package bulkhead.rules.namespace.reserved_name

prefixes := object.get(input.params, "prefixes", ["kube-", "openshift-"])

names := object.get(input.params, "names", ["bulkhead-system"])

users := object.get(input.params, "users", [])

groups := object.get(input.params, "groups", ["system:masters"])

violation contains {
	"message": sprintf("user %s may not create namespace %s: the name is reserved", [input.user.username, name]),
	"path": "metadata.name",
	"severity": "high",
	"fix": sprintf(
		"choose a name that does not begin with %s and is not one of %s, or ask a cluster administrator to create it",
		[concat(", ", prefixes), concat(", ", names)],
	),
} if {
	input.operation == "CREATE"
	input.object.kind == "Namespace"
	name := input.object.metadata.name
	reserved(name)
	not allowed
}

reserved(name) if name in names

reserved(name) if strings.any_prefix_match(name, prefixes)

allowed if input.user.trusted

allowed if input.user.username in users

allowed if {
	some group in input.user.groups
	group in groups
}
