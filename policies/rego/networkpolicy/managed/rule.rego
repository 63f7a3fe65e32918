# Policies that Bulkhead writes are changed in Git, not in the cluster.
package bulkhead.rules.networkpolicy.managed

label := "bulkhead.dev/managed-by"

# Who deletes objects of a namespace that goes away. The namespace that the caller knows may be a
# moment old, so its deletionTimestamp alone is not enough.
cleaners := object.get(input.params, "cleaners", [
	"system:serviceaccount:kube-system:namespace-controller",
	"system:serviceaccount:kube-system:generic-garbage-collector",
])

users := object.get(input.params, "users", [])

violation contains {
	"message": sprintf(
		"user %s may not %s NetworkPolicy %s: it is managed by Bulkhead (%s)",
		[input.user.username, deed, object.get(policy, ["metadata", "name"], ""), manager],
	),
	"path": sprintf("metadata.labels[%s]", [label]),
	"severity": "high",
	"fix": fix(manager),
} if {
	not input.user.trusted
	not input.user.username in users
	some [policy, deed] in judged
	policy.kind == "NetworkPolicy"
	manager := policy.metadata.labels[label]
}

judged contains [input.object, "create"] if input.operation == "CREATE"

judged contains [input.oldObject, "edit"] if edited

# Putting the label on takes over a policy that nobody approved.
judged contains [input.object, "take over"] if {
	edited
	not input.oldObject.metadata.labels[label]
}

judged contains [input.oldObject, "delete"] if {
	input.operation == "DELETE"
	not cleaned_up
}

# Finishing a deletion takes a finalizer off and changes nothing that counts.
edited if {
	input.operation == "UPDATE"
	not deletion_finishes
}

deletion_finishes if {
	input.oldObject.metadata.deletionTimestamp
	object.get(input.object, "spec", null) == object.get(input.oldObject, "spec", null)
	every field in ["labels", "annotations"] {
		object.get(input.object.metadata, field, {}) == object.get(input.oldObject.metadata, field, {})
	}
}

cleaned_up if input.namespace.metadata.deletionTimestamp

cleaned_up if input.user.username in cleaners

fix("onboarding") := "change the namespace's mode instead (label bulkhead.dev/mode); the policy follows it"

fix(manager) := "change it in the Git repository and have the change merged; for a policy of your own leave the label out" if {
	manager != "onboarding"
}
