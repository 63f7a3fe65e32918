# Protection is taken away from a namespace only by those who may.
package bulkhead.rules.namespace.mode_weakened

mode_label := "bulkhead.dev/mode"

profile_label := "bulkhead.dev/profile"

standard := "standard"

strength := {"observe": 0, "audit": 1, "enforce": 2}

violation contains {
	"message": sprintf(
		"user %s may not weaken namespace %s from mode %s to %s",
		[input.user.username, name, described(input.oldObject), described(input.object)],
	),
	"path": sprintf("metadata.labels[%s]", [mode_label]),
	"severity": "high",
	"fix": sprintf("leave the mode at %s, or ask somebody who is allowed to weaken modes", [described(input.oldObject)]),
} if {
	updates_namespace
	mode(input.object) < mode(input.oldObject)
	not allowed
}

violation contains {
	"message": sprintf(
		"user %s may not move namespace %s from profile %s to %s",
		[input.user.username, name, profile(input.oldObject), profile(input.object)],
	),
	"path": sprintf("metadata.labels[%s]", [profile_label]),
	"severity": "high",
	"fix": sprintf("leave the profile at %s, or ask somebody who is allowed to weaken modes", [profile(input.oldObject)]),
} if {
	updates_namespace
	profile(input.object) != profile(input.oldObject)
	not allowed
}

# A new namespace that asks for less than new namespaces get. Needs the parameter defaultMode,
# because the rule cannot know what the cluster's default is. A default that is no mode counts as enforce.
violation contains {
	"message": sprintf(
		"user %s may not create namespace %s in mode %s: new namespaces start in mode %s",
		[input.user.username, name, described(input.object), input.params.defaultMode],
	),
	"path": sprintf("metadata.labels[%s]", [mode_label]),
	"severity": "high",
	"fix": sprintf("leave out the label %s, or ask somebody who is allowed to weaken modes", [mode_label]),
} if {
	input.operation == "CREATE"
	input.object.kind == "Namespace"
	mode(input.object) < object.get(strength, input.params.defaultMode, strength.enforce)
	not name in object.get(
		input.params, "exempt",
		["default", "kube-system", "kube-public", "kube-node-lease", "bulkhead-system"],
	)
	not allowed
}

name := object.get(input.object, ["metadata", "name"], "")

# A namespace that is being deleted is judged too: its pods still run. Finishing the deletion
# changes neither label, so it is never in the way.
updates_namespace if {
	input.operation == "UPDATE"
	input.object.kind == "Namespace"
}

allowed if input.user.mayWeaken

allowed if input.user.trusted

# No label, and a value that is no mode, protect as little as observe.
mode(namespace) := object.get(strength, value(namespace, mode_label, "observe"), 0)

profile(namespace) := value(namespace, profile_label, standard)

described(namespace) := value(namespace, mode_label, "observe (no label)")

value(namespace, label, otherwise) := object.get(namespace, ["metadata", "labels", label], otherwise)
