// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"maps"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// TestReadBack: a file's policies are those that were generated where it says so, to the last field, and else what it
// says.
func TestReadBack(t *testing.T) {
	p := &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: "shop"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}},
		},
	}
	n := &Namespace{Namespace: &synth.Namespace{
		Name: "shop", Baseline: []*networkingv1.NetworkPolicy{baseline.Isolate("shop", baseline.BothDirections())}, Policies: []*networkingv1.NetworkPolicy{p},
	}}
	rendered, err := (&tree.Renderer{Cluster: "c"}).Render(n.Namespace, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.documents = rendered.Documents
	for name, tt := range map[string]struct {
		from, to  string // in api.yaml
		generated bool
		same      bool
		fault     string
	}{
		"as it was written": {"", "", true, true, ""},
		"a comment":         {"spec:", "# why\nspec: # this", true, true, ""},
		"other quotes":      {"app: api", `"app": 'api'`, true, true, ""},
		"an empty field":    {"  podSelector:\n", "  egress: []\n  podSelector:\n", false, true, ""},
		"another label":     {"app: api", "app: web", false, false, ""},
		"less":              {"app: api", "{}", false, false, ""},
		"a key twice":       {"app: api", "app: api\n      app: api", false, false, `key "app" is given twice`},
		"an unknown field":  {"  podSelector:\n", "  x: 1\n  podSelector:\n", false, false, "unknown field spec.x"},
		"a number":          {"app: api", "app: 1", false, false, "does not fit"},
	} {
		files := maps.Clone(rendered.Files)
		files["api.yaml"] = []byte(strings.Replace(string(files["api.yaml"]), tt.from, tt.to, 1))
		got, err := n.read(files)
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s: got %v, want %s", name, err, tt.fault)
			}
			continue
		}
		if err != nil || len(got) != 2 || (got[0] == p) != tt.generated || samePolicies(got, n.All()) != tt.same {
			t.Errorf("%s: read %v, %v", name, got, err)
		}
	}
}
