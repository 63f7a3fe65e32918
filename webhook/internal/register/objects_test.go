// SPDX-License-Identifier: Apache-2.0

package register

import (
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

func TestByURL(t *testing.T) {
	for _, object := range objects(t) {
		if err := byURL(object, "https://127.0.0.1:9443", "Q0E="); err != nil {
			t.Fatal(err)
		}
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for _, w := range webhooks {
			config := w.(map[string]any)["clientConfig"].(map[string]any)
			if url := config["url"]; url != "https://127.0.0.1:9443/stamp" && url != "https://127.0.0.1:9443/validate" || config["caBundle"] != "Q0E=" || config["service"] != nil {
				t.Errorf("%s: %v", describe(object), config)
			}
		}
	}
}
