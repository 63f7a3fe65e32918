# A namespace has a profile that exists, and what that profile asks for.
package bulkhead.rules.namespace.profile_unmet

mode_label := "bulkhead.dev/mode"

profile_label := "bulkhead.dev/profile"

strength := {"observe": 0, "audit": 1, "enforce": 2}

exempt := object.get(
	input.params, "exempt",
	["default", "kube-system", "kube-public", "kube-node-lease", "bulkhead-system"],
)

violation contains {
	"message": sprintf("there is no profile %s for namespace %s", [input.profile.name, name]),
	"path": sprintf("metadata.labels[%s]", [profile_label]),
	"severity": "high",
	"fix": sprintf("name one that exists (kubectl get profiles), or leave out the label %s to get %s", [profile_label, input.profile.selected]),
} if {
	judged
	profile_changed
	input.profile.exists == false
}

# Who changes a profile that a namespace has is asked by the API server.
violation contains {
	"message": sprintf(
		"user %s may not give namespace %s profile %s: namespaces like it have profile %s",
		[input.user.username, name, input.profile.name, input.profile.selected],
	),
	"path": sprintf("metadata.labels[%s]", [profile_label]),
	"severity": "high",
	"fix": sprintf(
		"leave out the label %s, or have RBAC grant verb leave on profiles.bulkhead.dev, resourceName %s",
		[profile_label, input.profile.selected],
	),
} if {
	judged
	input.profile.exists
	input.profile.name != input.profile.selected
	not value(input.oldObject, profile_label)
	not input.user.mayLeave
	not input.user.trusted
}

violation contains {
	"message": sprintf("namespace %s has no label %s, which profile %s requires", [name, label, input.profile.name]),
	"path": sprintf("metadata.labels[%s]", [label]),
	"severity": "medium",
	"fix": sprintf("add the label %s", [label]),
} if {
	judged
	some label in input.profile.requiredLabels
	not filled(input.object, label)
	label_is_due(label)
}

violation contains {
	"message": sprintf(
		"namespace %s is to be in mode %s, and profile %s allows none weaker than %s",
		[name, described, input.profile.name, input.profile.minimumMode],
	),
	"path": sprintf("metadata.labels[%s]", [mode_label]),
	"severity": "high",
	"fix": sprintf("use mode %s, or a profile that allows this one", [input.profile.minimumMode]),
} if {
	judged
	mode_is_due
	protection(input.object) < least
}

# The mode that new namespaces get is always allowed: without DNS it is audit at most.
least := min([strength[input.profile.minimumMode], strength[input.profile.startingMode]])

judged if {
	input.object.kind == "Namespace"
	not name in exempt
	not input.object.metadata.deletionTimestamp
}

name := object.get(input.object, ["metadata", "name"], "")

described := object.get(input.object, ["metadata", "labels", mode_label], "observe (no label)")

# A namespace that is as it was can still be updated: a label is due when it is taken away, and when the
# namespace is created, enters a profile or a stronger mode.
label_is_due(label) if filled(input.oldObject, label)

label_is_due(_) if profile_changed

label_is_due(_) if {
	input.operation == "UPDATE"
	protection(input.object) > protection(input.oldObject)
}

mode_is_due if profile_changed

mode_is_due if {
	input.operation == "UPDATE"
	protection(input.object) != protection(input.oldObject)
}

profile_changed if input.operation == "CREATE"

profile_changed if value(input.oldObject, profile_label) != input.profile.name

# A namespace without the label has the profile that selects it.
profile_changed if {
	input.operation == "UPDATE"
	not value(input.oldObject, profile_label)
	input.profile.name != input.profile.selected
}

# No label, and a value that is no mode, protect as little as observe.
protection(namespace) := object.get(strength, object.get(namespace, ["metadata", "labels", mode_label], ""), 0)

filled(namespace, label) if trim_space(value(namespace, label)) != ""

value(namespace, label) := namespace.metadata.labels[label]
