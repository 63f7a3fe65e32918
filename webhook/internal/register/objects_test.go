// SPDX-License-Identifier: Apache-2.0

package register

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func objects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	all, err := Objects(baseline.ProjectNamespace)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryObjectCanBeFoundByLabel(t *testing.T) {
	for _, object := range objects(t) {
		for key, value := range partOf {
			if object.GetLabels()[key] != value {
				t.Errorf("%s lacks label %s=%s", describe(object), key, value)
			}
		}
	}
}

// A list of system namespaces that forgets one would lock it out while the webhook is down.
func TestSystemNamespacesAreLeftOut(t *testing.T) {
	for _, object := range objects(t) {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Count(string(text), baseline.SystemNamespaces()[1]) // kube-public is only ever in such a list
		for _, name := range baseline.SystemNamespaces() {
			if got := strings.Count(string(text), name); got < want {
				t.Errorf("%s names %s %d times, kube-public %d times", describe(object), name, got, want)
			}
		}
	}
}

func TestFailurePoliciesByRisk(t *testing.T) {
	want := map[string]admissionv1.FailurePolicyType{
		"stamp.bulkhead.dev": admissionv1.Ignore, "namespaces.bulkhead.dev": admissionv1.Fail, "networkpolicies.bulkhead.dev": admissionv1.Fail,
		"namespace-updates.bulkhead.dev": admissionv1.Ignore, "networkpolicy-deletes.bulkhead.dev": admissionv1.Ignore,
		"hold.bulkhead.dev": admissionv1.Ignore, "profiles.bulkhead.dev": admissionv1.Fail, "profile-deletes.bulkhead.dev": admissionv1.Ignore,
	}
	for _, object := range objects(t) {
		webhooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range webhooks {
			webhook := w.(map[string]any)
			name := webhook["name"].(string)
			if webhook["failurePolicy"] != string(want[name]) || webhook["timeoutSeconds"].(float64) > 2 {
				t.Errorf("%s: failurePolicy %v, timeout %v s", name, webhook["failurePolicy"], webhook["timeoutSeconds"])
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("no webhooks %v", want)
	}
}

// What a webhook that is down could be in the way of: nothing but these.
func TestRulesAreNarrow(t *testing.T) {
	want := map[string]string{
		"stamp.bulkhead.dev":                 "/namespaces,namespaces/status,namespaces/finalize CREATE,UPDATE Cluster",
		"hold.bulkhead.dev":                  "/pods CREATE Namespaced",
		"namespaces.bulkhead.dev":            "/namespaces,namespaces/status,namespaces/finalize CREATE,UPDATE Cluster",
		"namespace-updates.bulkhead.dev":     "/namespaces UPDATE Cluster",
		"networkpolicies.bulkhead.dev":       "networking.k8s.io/networkpolicies CREATE,UPDATE Namespaced",
		"profiles.bulkhead.dev":              "bulkhead.dev/profiles CREATE,UPDATE Cluster",
		"profile-deletes.bulkhead.dev":       "bulkhead.dev/profiles DELETE Cluster",
		"networkpolicy-deletes.bulkhead.dev": "networking.k8s.io/networkpolicies DELETE Namespaced",
	}
	for _, object := range objects(t) {
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for _, w := range webhooks {
			webhook := w.(map[string]any)
			name := webhook["name"].(string)
			if got := scope(t, webhook["rules"].([]any)); got != want[name] {
				t.Errorf("%s is called for %q, want %q", name, got, want[name])
			}
		}
	}
}

// scope is groups/resources operations scope of each rule.
func scope(t *testing.T, rules []any) string {
	t.Helper()
	var lines []string
	for _, rule := range rules {
		var read admissionv1.RuleWithOperations
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(rule.(map[string]any), &read); err != nil {
			t.Fatal(err)
		}
		operations := strings.ReplaceAll(strings.Trim(fmt.Sprint(read.Operations), "[]"), " ", ",")
		lines = append(lines, fmt.Sprintf("%s/%s %s %s", strings.Join(read.APIGroups, ","), strings.Join(read.Resources, ","), operations, *read.Scope))
	}
	return strings.Join(lines, "; ")
}

func TestByURL(t *testing.T) {
	for _, object := range objects(t) {
		if err := byURL(object, "https://127.0.0.1:9443", "Q0E="); err != nil {
			t.Fatal(err)
		}
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for _, w := range webhooks {
			config := w.(map[string]any)["clientConfig"].(map[string]any)
			path := strings.TrimPrefix(config["url"].(string), "https://127.0.0.1:9443")
			if !slices.Contains([]string{"/stamp", "/hold", "/validate", "/validate-profile"}, path) || config["caBundle"] != "Q0E=" || config["service"] != nil {
				t.Errorf("%s: %v", describe(object), config)
			}
		}
	}
}

func TestTheModesBindingIsAppliedLast(t *testing.T) {
	all := objects(t)
	slices.SortStableFunc(all, bindingsLast)
	if last := describe(all[len(all)-1]); last != "ValidatingAdmissionPolicyBinding "+lastBinding {
		t.Errorf("the last is %s", last)
	}
}
