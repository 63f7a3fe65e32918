# A namespace says who answers for it.
package bulkhead.rules.namespace.owner_required

label := object.get(input.params, "label", "bulkhead.dev/owner")

exempt := object.get(
	input.params, "exempt",
	["default", "kube-system", "kube-public", "kube-node-lease", "bulkhead-system"],
)

violation contains {
	"message": sprintf("namespace %s has no label %s, so nobody can be asked about its traffic", [name, label]),
	"path": sprintf("metadata.labels[%s]", [label]),
	"severity": "medium",
	"fix": sprintf("add the label %s with the name of the team that answers for the namespace", [label]),
} if {
	input.object.kind == "Namespace"
	name := object.get(input.object, ["metadata", "name"], "")
	not name in exempt
	not input.object.metadata.deletionTimestamp
	not has_owner(input.object)
	changed
}

# A namespace that never had an owner can still be updated: only creating one without an owner
# and taking the owner away are violations.
changed if input.operation == "CREATE"

changed if {
	input.operation == "UPDATE"
	has_owner(input.oldObject)
}

has_owner(namespace) if trim_space(namespace.metadata.labels[label]) != ""
