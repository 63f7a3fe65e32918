// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func TestRulesRefuse(t *testing.T) {
	start(t)
	createNamespace(t, newNamespace("ruled", nil))
	noOwner := newNamespace("no-owner", nil)
	delete(noOwner.Labels, baseline.LabelOwner)
	refused(t, admin.Create(t.Context(), noOwner), "namespace/owner_required", "add the label bulkhead.dev/owner")

	open := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ruled", Name: "open"},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
		},
	}
	refused(t, admin.Create(t.Context(), open), "networkpolicy/allow_all", "spec.ingress[0]")

	eventually(t, "policies", func() error { return policies(t.Context(), "ruled") })
	refused(t, admin.Delete(t.Context(), baseline.DefaultDeny("ruled")), "managed")
}

func TestWeakeningTheModeNeedsPermission(t *testing.T) {
	start(t)
	gateIsActive(t)
	createNamespace(t, newNamespace("guarded", nil))
	verbs := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "patch"}}
	weaken := rbacv1.PolicyRule{APIGroups: []string{"bulkhead.dev"}, Resources: []string{"namespacemodes"}, Verbs: []string{"weaken"}}
	grant(t, "dev", verbs)
	grant(t, "lead", verbs, weaken)
	observe := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/mode":"observe"}}}`))
	target := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "guarded"}}
	refused(t, clientAs(t, "dev").Patch(t.Context(), target, observe), "user dev may not weaken namespace guarded")
	if err := clientAs(t, "lead").Patch(t.Context(), target, observe); err != nil {
		t.Errorf("who may weaken is refused: %v", err)
	}
	eventually(t, "removal of the baseline", func() error { return none(t.Context(), "guarded") })
}

// grant gives a user rules in the whole cluster and waits until the authoriser knows.
func grant(t *testing.T, user string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: roleFor(user)}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if err := errors.Join(admin.Create(t.Context(), role), admin.Create(t.Context(), binding)); err != nil {
		t.Fatal(err)
	}
	as := clientAs(t, user)
	eventually(t, "permissions of "+user, func() error {
		return as.Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{})
	})
}

func roleFor(user string) string { return "test-" + strings.ReplaceAll(user, ":", "-") }

func TestManagedPoliciesAreProtectedWithoutTheWebhook(t *testing.T) {
	start(t)
	createNamespace(t, newNamespace("kept", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "kept") })
	const cleaner = "system:serviceaccount:kube-system:namespace-controller"
	edit := rbacv1.PolicyRule{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"*"}}
	see := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}}
	grant(t, "editor", edit, see)
	grant(t, cleaner, edit, see)
	rules := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "bulkhead-webhook"}}
	if err := admin.Delete(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusal by the API server itself", func() error {
		err := clientAs(t, "editor").Delete(t.Context(), baseline.DefaultDeny("kept"), client.DryRunAll)
		if isRefusal(err) && strings.Contains(err.Error(), "this NetworkPolicy is managed by Bulkhead") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	forged := baseline.DefaultDeny("kept")
	forged.Name = "forged"
	refused(t, clientAs(t, "editor").Create(t.Context(), forged), "this NetworkPolicy is managed by Bulkhead")
	if err := clientAs(t, cleaner).Delete(t.Context(), baseline.DefaultDeny("kept"), client.DryRunAll); err != nil {
		t.Errorf("a namespace cannot be emptied: %v", err)
	}
}

func TestRulesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--rules-dir", dir, "--rule-action", "namespace/owner_required=warn")
	noOwner := newNamespace("ownerless", nil)
	delete(noOwner.Labels, baseline.LabelOwner)
	if err := admin.Create(t.Context(), noOwner, client.DryRunAll); err != nil {
		t.Errorf("a rule under warn refuses: %v", err)
	}
	write(t, dir, "namespace/no_tests/rule.rego", "package bulkhead.rules.namespace.no_tests\n\nviolation contains {\n")
	eventually(t, "report of the broken rule", func() error {
		if !strings.Contains(p.logs.String(), "rule.rego:") {
			return errors.New("not in the log")
		}
		return nil
	})
	if err := admin.Create(t.Context(), newNamespace("still-served", nil), client.DryRunAll); err != nil {
		t.Errorf("a broken rule changed the answers: %v", err)
	}
	write(t, dir, "namespace/no_tests/rule.rego", forbidX)
	write(t, dir, "namespace/no_tests/rule_test.rego", forbidXTest)
	eventually(t, "the new rule", func() error {
		err := admin.Create(t.Context(), newNamespace("x-ray", nil), client.DryRunAll)
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "no namespace begins with x") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
}

func TestParamsAreReloaded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "params.yaml", "namespace/reserved_name: {prefixes: [corp-], groups: []}")
	p := start(t, "--rules-dir", dir)
	refused(t, admin.Create(t.Context(), newNamespace("corp-x", nil), client.DryRunAll), "namespace/reserved_name", "corp-")
	write(t, dir, "params.yaml", "namespace/reserved_names: {prefixes: [other-]}")
	eventually(t, "report of the wrong name", func() error {
		if !strings.Contains(p.logs.String(), "params.yaml: rule namespace/reserved_names does not exist; there are: ") {
			return errors.New("not in the log")
		}
		return nil
	})
	refused(t, admin.Create(t.Context(), newNamespace("corp-x", nil), client.DryRunAll), "corp-")
	write(t, dir, "params.yaml", "namespace/reserved_name: {prefixes: [other-], groups: []}")
	eventually(t, "the new parameters", func() error { return admin.Create(t.Context(), newNamespace("corp-x", nil), client.DryRunAll) })
	refused(t, admin.Create(t.Context(), newNamespace("other-x", nil), client.DryRunAll), "other-")
}

const forbidX = `package bulkhead.rules.namespace.no_tests

violation contains {"message": "no namespace begins with x", "path": "metadata.name", "severity": "low", "fix": "rename it"} if {
	input.object.kind == "Namespace"
	startswith(input.object.metadata.name, "x")
}
`

const forbidXTest = `package bulkhead.rules.namespace.no_tests_test

import data.bulkhead.rules.namespace.no_tests

test_x_is_refused if {
	count(no_tests.violation) == 1 with input as {"object": {"kind": "Namespace", "metadata": {"name": "x"}}}
}
`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
