package bulkhead.rules.networkpolicy.managed_test

import data.bulkhead.rules.networkpolicy.managed

anyone := {"username": "dev", "groups": [], "mayWeaken": true, "trusted": false}

trusted := object.union(anyone, {"trusted": true})

gitops := policy({"bulkhead.dev/managed-by": "gitops"}, {"podSelector": {}})

plain := policy({}, {"podSelector": {}})

test_refused[note] if {
	some note, doc in {
		"edited": change("UPDATE", gitops, policy({"bulkhead.dev/managed-by": "gitops"}, {"podSelector": {}, "ingress": [{}]})),
		"label removed": change("UPDATE", gitops, plain),
		"label changed": change("UPDATE", gitops, policy({"bulkhead.dev/managed-by": "me"}, {"podSelector": {}})),
		"annotated": change("UPDATE", gitops, object.union(gitops, {"metadata": {"annotations": {"bulkhead.dev/approved-commit": "f00"}}})),
		"taken over": change("UPDATE", plain, gitops),
		"created": change("CREATE", null, gitops),
		"deleted": change("DELETE", gitops, null),
	}
	found := managed.violation with input as doc
	count(found) == 1
}

test_let_through[note] if {
	some note, doc in {
		"edited": change("UPDATE", plain, policy({"a": "b"}, {"podSelector": {}})),
		"created": change("CREATE", null, plain),
		"deleted": change("DELETE", plain, null),
	}
	found := managed.violation with input as doc
	count(found) == 0
}

test_trusted[note] if {
	some note, doc in {
		"edit": change("UPDATE", gitops, plain),
		"create": change("CREATE", null, gitops),
		"delete": change("DELETE", gitops, null),
	}
	found := managed.violation with input as object.union(doc, {"user": trusted})
	count(found) == 0
}

test_message_and_fix if {
	some v in managed.violation with input as change("DELETE", gitops, null)
	v.message == "user dev may not delete NetworkPolicy api: it is managed by Bulkhead (gitops)"
	contains(v.fix, "Git repository")
}

test_baseline_follows_the_mode if {
	baseline := policy({"bulkhead.dev/managed-by": "onboarding"}, {"podSelector": {}})
	some v in managed.violation with input as change("DELETE", baseline, null)
	contains(v.fix, "bulkhead.dev/mode")
}

test_users_are_a_parameter if {
	doc := object.union(change("DELETE", gitops, null), {"params": {"users": ["dev"]}})
	count(managed.violation) == 0 with input as doc
}

test_namespace_being_deleted if {
	doc := object.union(change("DELETE", gitops, null), {"namespace": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}})
	count(managed.violation) == 0 with input as doc
}

test_namespace_controller if {
	cleaner := object.union(anyone, {"username": "system:serviceaccount:kube-system:namespace-controller"})
	doc := object.union(change("DELETE", gitops, null), {"user": cleaner})
	count(managed.violation) == 0 with input as doc
}

test_namespace_being_deleted_cannot_be_opened if {
	open := policy({"bulkhead.dev/managed-by": "gitops"}, {"podSelector": {}, "ingress": [{}]})
	doc := change("UPDATE", gitops, open)
	going := object.union(doc, {"namespace": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}})
	count(managed.violation) == 1 with input as going
}

test_deletion_finishes if {
	going := object.union(gitops, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}})
	done := object.union(going, {"metadata": {"finalizers": []}})
	count(managed.violation) == 0 with input as change("UPDATE", going, done)
}

test_edited_while_being_deleted if {
	going := object.union(gitops, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
	open := object.union(going, {"spec": {"ingress": [{}]}})
	count(managed.violation) == 1 with input as change("UPDATE", going, open)
}

policy(labels, spec) := {
	"kind": "NetworkPolicy",
	"metadata": {"name": "api", "namespace": "shop", "labels": labels},
	"spec": spec,
}

change(operation, before, after) := {
	"operation": operation, "params": {}, "user": anyone, "namespace": null,
	"object": after,
	"oldObject": before,
}
