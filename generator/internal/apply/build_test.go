// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 3000}]}]
`

func TestBuild(t *testing.T) {
	got, err := apply.Build(tree.Files{
		"kustomization.yaml":      []byte("resources: [api.yaml, more]\npatches: [{path: patch.yaml}]\nnamespace: shop\n"),
		"api.yaml":                []byte(policy),
		"patch.yaml":              []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: api, namespace: shop, annotations: {a: b}}\n"),
		"more/kustomization.yaml": []byte("resources: [x.yaml]\n"),
		"more/x.yaml":             []byte(strings.Replace(policy, "name: api", "name: x", 1)),
	}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "api" || got[0].Annotations["a"] != "b" || got[1].Name != "x" {
		t.Errorf("built %v", got)
	}
}

// TestBuildRefuses: nothing that is fetched, run or not a policy of the namespace gets through.
func TestBuildRefuses(t *testing.T) {
	edit := func(old, new string) string { return strings.Replace(policy, old, new, 1) }
	tests := []struct{ name, kustomization, api, want string }{
		{"URL", "resources: ['https://example.com/x.yaml']", policy, "not a file"},
		{"repository", "resources: ['github.com/owner/name']", policy, "not a file"},
		{"repository by ssh", "resources: ['git@example.com:owner/name']", policy, "not a file"},
		{"repository that is also a directory", "resources: ['github.com/owner']", policy, "not a file"},
		{"outside", "resources: ['../other/api.yaml']", policy, "not a file"},
		{"absolute", "resources: ['/etc']", policy, "not a file"},
		{"component", "components: ['https://example.com/x']", policy, "not a file"},
		{"helm", "helmCharts: [{name: x, repo: 'https://example.com'}]", policy, "field helmCharts is not permitted"},
		{"generator", "generators: [g.yaml]", policy, "field generators is not permitted"},
		{"configMapGenerator", "configMapGenerator: [{name: x}]", policy, "field configMapGenerator is not permitted"},
		{"patch by URL", "resources: [api.yaml]\npatches: [{path: 'https://example.com/p.yaml'}]", policy, "is not a file"},
		{"missing file", "resources: [nope.yaml]", policy, `"nope.yaml" is not a file`},
		{"bad kustomization", "resources: [", policy, "kustomization.yaml"},
		{"other namespace", "resources: [api.yaml]", edit("namespace: shop", "namespace: kube-system"), "kube-system/api is not of namespace shop"},
		{"no namespace", "resources: [api.yaml]", edit(", namespace: shop", ""), "not of namespace shop"},
		{"other kind", "resources: [api.yaml]", "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: shop}\n", "Secret shop/x: only NetworkPolicies"},
		{"cluster-scoped", "resources: [api.yaml]", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n", "only NetworkPolicies"},
		{"misspelt field", "resources: [api.yaml]", edit("ingress:", "ingres:"), "ingres"},
		{"invalid CIDR", "resources: [api.yaml]", edit("podSelector: {matchLabels: {app: web}}", "ipBlock: {cidr: 10.0.0.0/99}"), "10.0.0.0/99"},
		{"invalid selector", "resources: [api.yaml]", edit("{app: api}", "{'a b': api}"), "NetworkPolicy shop/api"},
	}
	for _, tt := range tests {
		_, err := apply.Build(tree.Files{
			"kustomization.yaml": []byte(tt.kustomization), "api.yaml": []byte(tt.api), "github.com/owner/kustomization.yaml": []byte("resources: []"),
		}, "shop")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "namespace shop") {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if _, err := apply.Build(tree.Files{"api.yaml": []byte(policy)}, "shop"); err == nil {
		t.Error("built without a kustomization")
	}
}
