// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func TestNewNamespaceIsOnboarded(t *testing.T) {
	p := start(t)
	namespace := createNamespace(t, newNamespace("fresh", nil))
	if namespace.Labels[baseline.LabelMode] != "enforce" || namespace.Labels[baseline.LabelProfile] != baseline.DefaultProfile {
		t.Errorf("not stamped: %v", namespace.Labels)
	}
	eventually(t, "policies", func() error { return policies(t.Context(), "fresh") })
	eventually(t, "admission of a pod", func() error { return admin.Create(t.Context(), newPod("fresh")) })
	eventually(t, "event", func() error {
		var events eventsv1.EventList
		err := admin.List(t.Context(), &events, client.InNamespace("default"))
		if err != nil || !slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == "fresh" && e.Reason == "BaselineInPlace"
		}) {
			return fmt.Errorf("%d events, none for the namespace: %w", len(events.Items), err)
		}
		return nil
	})
	if text := fetch(t, "http://"+p.metrics+"/metrics"); !strings.Contains(text, "bulkhead_onboarding_seconds_count") {
		t.Error("metrics lack the latency of onboarding")
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestPodIsRefusedUntilPoliciesExist(t *testing.T) {
	p := start(t, "--exempt-namespaces", "calm")
	gateIsActive(t)
	createNamespace(t, newNamespace("calm", nil))
	if err := admin.Create(t.Context(), newPod("calm")); err != nil {
		t.Errorf("pod in an exempt namespace: %v", err)
	}
	// The gate must hold without us. Ending in order would take it away: so keep a copy.
	kept := gateObjects(t)
	p.stop(t)
	for _, object := range kept {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { emergencyOff(t) })

	createNamespace(t, newNamespace("early", map[string]string{baseline.LabelMode: "audit"}))
	eventually(t, "refusal of the early pod", func() error {
		err := admin.Create(t.Context(), newPod("early"), client.DryRunAll)
		if isRefusal(err) {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	refused(t, admin.Create(t.Context(), newPod("early")), "retry-when-bulkhead-")

	// A policy of the right name and another content does not open the gate.
	weak := baseline.DefaultDeny("early")
	weak.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	for _, policy := range []*networkingv1.NetworkPolicy{weak, baseline.DNS("early", baseline.DefaultDNS())} {
		if err := admin.Create(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "refusal because of the content", func() error {
		err := admin.Create(t.Context(), newPod("early"))
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "retry in a moment, Bulkhead restores it") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})

	start(t)
	eventually(t, "policies", func() error { return policies(t.Context(), "early") })
	eventually(t, "admission of the pod", func() error { return admin.Create(t.Context(), newPod("early")) })
}

// gateIsActive returns when the API server applies the pod gate, which it does a moment after the
// objects are created.
func gateIsActive(t *testing.T) {
	t.Helper()
	eventually(t, "admission policies", func() error {
		nonsense := newNamespace("gate-probe", map[string]string{baseline.LabelMode: "nonsense"})
		if err := admin.Create(t.Context(), nonsense, client.DryRunAll); !isRefusal(err) {
			return fmt.Errorf("mode nonsense is admitted: %w", err)
		}
		return nil
	})
}

func gateObjects(t *testing.T) []client.Object {
	t.Helper()
	var objects []client.Object
	var gates admissionv1.ValidatingAdmissionPolicyList
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	if err := errors.Join(admin.List(t.Context(), &gates), admin.List(t.Context(), &bindings)); err != nil {
		t.Fatal(err)
	}
	for i := range gates.Items {
		if strings.HasPrefix(gates.Items[i].Name, "bulkhead-pod-gate") {
			objects = append(objects, &gates.Items[i])
		}
	}
	for i := range bindings.Items {
		if strings.HasPrefix(bindings.Items[i].Spec.PolicyName, "bulkhead-pod-gate") {
			objects = append(objects, &bindings.Items[i])
		}
	}
	if len(objects) != 4 {
		t.Fatalf("%d objects of the pod gate, want 4", len(objects))
	}
	for _, object := range objects {
		object.SetResourceVersion("")
		object.SetUID("")
		object.SetManagedFields(nil)
	}
	return objects
}

func emergencyOff(t testing.TB) string {
	t.Helper()
	kubeconfig, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	out := &logBuffer{}
	if err := run(context.Background(), []string{"emergency-off", "--kubeconfig", kubeconfig}, out, out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

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
	createNamespace(t, newNamespace("guarded", nil))
	verbs := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "patch"}}
	weaken := rbacv1.PolicyRule{APIGroups: []string{"bulkhead.dev"}, Resources: []string{"namespacemodes"}, Verbs: []string{"weaken"}}
	grant(t, "dev", verbs)
	grant(t, "lead", verbs, weaken)
	observe := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/mode":"observe"}}}`))
	target := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "guarded"}}
	refused(t, clientAs(t, "dev").Patch(t.Context(), target, observe), "user dev may not weaken")
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

func TestDriftIsRestored(t *testing.T) {
	// The admission policies refuse drift in the first place; here they are switched off, as in an emergency.
	start(t)
	createNamespace(t, newNamespace("drifting", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "drifting") })
	emergencyOff(t)

	edits := map[string]string{
		"a rule":         `{"spec":{"ingress":[{}]}}`,
		"a selector":     `{"spec":{"podSelector":{"matchLabels":{"app":"x"}}}}`,
		"a direction":    `{"spec":{"policyTypes":["Ingress"]}}`,
		"our label gone": `{"metadata":{"labels":{"bulkhead.dev/managed-by":null}}}`,
	}
	for what, edit := range edits {
		drift(t, what, func() error {
			return admin.Patch(t.Context(), baseline.DefaultDeny("drifting"), client.RawPatch(types.MergePatchType, []byte(edit)))
		})
	}
	drift(t, "deletion", func() error { return admin.Delete(t.Context(), baseline.DNS("drifting", baseline.DefaultDNS())) })
}

// drift makes a change, which must succeed, and waits until it is undone.
func drift(t *testing.T, what string, change func() error) {
	t.Helper()
	eventually(t, what+": change", change) // the API server notices a moment later that admission is off
	eventually(t, what+": restored", func() error {
		var deny networkingv1.NetworkPolicy
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(baseline.DefaultDeny("drifting")), &deny); err != nil {
			return err
		}
		if len(deny.Spec.PodSelector.MatchLabels) > 0 {
			return fmt.Errorf("selector %v", deny.Spec.PodSelector)
		}
		return policies(t.Context(), "drifting")
	})
}

func TestNamespacesFromBeforeAreObserved(t *testing.T) {
	createNamespace(t, newNamespace("old", nil))
	start(t)
	createNamespace(t, newNamespace("younger", nil))
	eventually(t, "policies of a later namespace", func() error { return policies(t.Context(), "younger") })
	if err := none(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	var old corev1.Namespace
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "old"}, &old); err != nil || old.Labels[baseline.LabelMode] != "" {
		t.Errorf("labels %v, %v", old.Labels, err)
	}
	if err := admin.Create(t.Context(), newPod("old")); err != nil {
		t.Errorf("pod in a namespace from before: %v", err)
	}
	audit := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/mode":"audit"}}}`))
	if err := admin.Patch(t.Context(), &old, audit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "policies once it is enrolled", func() error { return policies(t.Context(), "old") })
}

func TestDNSPolicyFollowsTheService(t *testing.T) {
	start(t)
	createNamespace(t, newNamespace("named", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "named") })
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"dns": "ours"},
			Ports:    []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intOr(5353)}},
		},
	}
	if err := admin.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), service) })
	eventually(t, "DNS policy on port 5353", func() error {
		var dns networkingv1.NetworkPolicy
		key := client.ObjectKey{Namespace: "named", Name: baseline.AllowDNSName}
		if err := admin.Get(t.Context(), key, &dns); err != nil {
			return err
		}
		if rule := dns.Spec.Egress[0]; len(rule.Ports) != 1 || rule.Ports[0].Port.IntVal != 5353 || rule.To[0].PodSelector.MatchLabels["dns"] != "ours" {
			return fmt.Errorf("got %+v", rule)
		}
		return nil
	})
}

func TestStopAndEmergencyOffLeaveNothing(t *testing.T) {
	p := start(t)
	if n := admissionObjects(t); n == 0 {
		t.Fatal("nothing is registered")
	}
	p.stop(t)
	if n := admissionObjects(t); n != 0 {
		t.Errorf("%d admission objects after an orderly end", n)
	}
	start(t)
	if out := emergencyOff(t); !strings.Contains(out, "deleted ValidatingWebhookConfiguration bulkhead-webhook") {
		t.Error(out)
	}
	if n := admissionObjects(t); n != 0 {
		t.Errorf("%d admission objects after emergency-off", n)
	}
}

// admissionObjects counts the objects that can act. The two that match nothing stay on purpose.
func admissionObjects(t *testing.T) int {
	t.Helper()
	count, anchors := 0, 0
	for _, kind := range []string{
		"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind(kind + "List"))
		if err := admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, object := range list.Items {
			if object.Name == "bulkhead-params-anchor" {
				anchors++
				continue
			}
			count++
		}
	}
	if anchors != 2 {
		t.Errorf("%d objects keep the API server's watch of NetworkPolicies, want 2", anchors)
	}
	return count
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
