# A namespace is created in a weaker mode than others only by those who may.
package bulkhead.rules.namespace.mode_weakened

mode_label := "bulkhead.dev/mode"

strength := {"observe": 0, "audit": 1, "enforce": 2}

exempt := object.get(
	input.params, "exempt",
	["default", "kube-system", "kube-public", "kube-node-lease", "bulkhead-system"],
)

violation contains {
	"message": sprintf(
		"user %s may not create namespace %s in mode %s: new namespaces of profile %s start in mode %s",
		[input.user.username, name, described, input.profile.name, input.profile.startingMode],
	),
	"path": sprintf("metadata.labels[%s]", [mode_label]),
	"severity": "high",
	"fix": sprintf(
		"leave out the label %s, or have RBAC grant verb weaken on namespacemodes.bulkhead.dev, resourceName %s",
		[mode_label, name],
	),
} if {
	input.operation == "CREATE"
	input.object.kind == "Namespace"
	object.get(strength, mode, 0) < strength[input.profile.startingMode]
	not name in exempt
	not input.user.mayWeaken
	not input.user.trusted
}

name := object.get(input.object, ["metadata", "name"], "")

# No label, and a value that is no mode, protect as little as observe.
mode := object.get(input.object, ["metadata", "labels", mode_label], "")

described := mode if mode != ""

described := "observe (no label)" if mode == ""
