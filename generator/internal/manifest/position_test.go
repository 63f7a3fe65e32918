// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

const positions = `# the shop
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata:
    name: api
    namespace: shop
    labels: &labels
      example.com/tier: back
      app: api
  spec:
    podSelector:
      matchLabels:
        <<: *labels
    ingress:
    - from:
      - podSelector: {}
      - ipBlock:
          cidr: 10.0.0.0/8
          except:
          - 10.1.0.0/16
          - 10.2.0.0/16
      ports: [{port: 80},
        {port: 81}]
    policyTypes: &types [Ingress]
- apiVersion: policy.networking.k8s.io/v1alpha2
  kind: ClusterNetworkPolicy
  metadata: {name: all}
`

func TestPosition(t *testing.T) {
	set, err := manifest.Load([]string{"-"}, strings.NewReader(positions), manifest.Lenient)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path string
		want int
	}{
		{"", 5},
		{"kind", 6},
		{"metadata.namespace", 9},
		{"metadata.labels[example.com/tier]", 11},
		{"spec.podSelector.matchLabels[app]", 12}, // merged from there
		{"spec.podSelector.matchLabels[none]", 15},
		{"spec.ingress", 17},
		{"spec.ingress[0]", 18},
		{"spec.ingress[0].from[1]", 20},
		{"spec.ingress[0].from[1].ipBlock.cidr", 21},
		{"spec.ingress[0].from[1].ipBlock.except[1]", 24},
		{"spec.ingress[0].ports[1].port", 26},
		{"spec.ingress[0].ports[1].endPort", 26},
		{"spec.ingress[7].ports", 17},
		{"spec.ingress[-1]", 17},
		{"spec.policyTypes[0]", 27},
		{"status.x", 5},
		{"[[].]x[", 5},
	}
	for _, tt := range tests {
		if got := set.Position("NetworkPolicy", "shop", "api", tt.path); got != (manifest.Position{File: "stdin", Line: tt.want}) {
			t.Errorf("%s: %s, want line %d", tt.path, got, tt.want)
		}
	}
	if got := set.Position("ClusterNetworkPolicy", "", "all", "metadata.name"); got.Line != 30 {
		t.Errorf("the second item: %s", got)
	}
	if got := set.Position("NetworkPolicy", "", "api", ""); got != (manifest.Position{}) {
		t.Errorf("an object that is not there: %s", got)
	}
}

// TestPositionJSON: the same of JSON, which has what no parser of YAML takes.
func TestPositionJSON(t *testing.T) {
	const text = "\n{\"apiVersion\": \"networking.k8s.io/v1\",\n\t\"kind\": \"NetworkPolicyList\", \"items\": [\n{\n\"metadata\": {\"name\": \"\\ud83d\\ude00\"}},\n" +
		"{\"metadata\": {\"name\": \"b\"},\n\"spec\": {\n\"ingress\": [\n{\"ports\":\n[{\n\"port\": 80}]}]}}]}"
	set, err := manifest.Load([]string{"-"}, strings.NewReader(text), manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"": 6, "metadata": 6, "spec": 7, "spec.ingress[0]": 9, "spec.ingress[0].ports[0].port": 11, "spec.egress": 7} {
		if got := set.Position("NetworkPolicy", "", "b", path); got.Line != want {
			t.Errorf("%s: %s, want line %d", path, got, want)
		}
	}
}

func TestNetpol(t *testing.T) {
	text := positions
	for _, kind := range []string{"Pod", "Service", "Node", "Namespace"} {
		text += "---\n{apiVersion: v1, kind: " + kind + ", metadata: {name: x}}\n"
	}
	set, err := manifest.Load([]string{"-"}, strings.NewReader(text), manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	o := set.Netpol()
	if len(o.Policies) != 1 || len(o.ClusterPolicies) != 1 || len(o.Pods) != 1 || len(o.Services) != 1 || len(o.Nodes) != 1 || len(o.Namespaces) != 1 {
		t.Errorf("got %+v", o)
	}
	if len(set.Runtime()) != len(set.Objects) {
		t.Errorf("%d of %d objects", len(set.Runtime()), len(set.Objects))
	}
}
