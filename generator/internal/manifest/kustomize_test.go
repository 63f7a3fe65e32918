// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

const deployment = `# the API
apiVersion: v1
kind: Service
metadata: {name: api}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: api}]}
`

const ingress = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec:
  podSelector: {}
  ingress:
  - ports:
    - port: 80
`

// overlays is a base and two environments of it.
var overlays = []string{
	"base/kustomization.yaml", "resources: [api.yaml, policy.yaml]\nconfigMapGenerator: [{name: conf, files: [conf.txt, x=conf.txt], literals: [a=b]}]\n",
	"base/api.yaml", deployment, "base/policy.yaml", ingress, "base/conf.txt", "{{",
	"prod/kustomization.yaml", `resources: [../base, more]
namespace: shop
namePrefix: prod-
labels: [{pairs: {env: prod}, includeSelectors: true}]
patches:
- path: patch.yaml
- target: {kind: Deployment}
  patch: |-
    [{"op": "add", "path": "/spec/replicas", "value": 3}]
`,
	"prod/patch.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: api}\nspec:\n  ingress: [{ports: [{port: 8080}]}]\n",
	"prod/more/kustomization.yml", "resources: [pod.yaml]\n", "prod/more/pod.yaml", pod,
	"test/kustomization.yaml", "resources: [../base]\nnamespace: test\n",
}

func TestKustomize(t *testing.T) {
	const (
		prod = "Service shop/prod-api base/api.yaml:2, Deployment shop/prod-api base/api.yaml:6, NetworkPolicy shop/prod-api base/policy.yaml:1, Pod shop/prod-a prod/more/pod.yaml:1"
		test = "Service test/api base/api.yaml:2, Deployment test/api base/api.yaml:6, NetworkPolicy test/api base/policy.yaml:1"
	)
	folder(t, append(overlays, "k8s/x.yaml", podB, "k8s/prod/kustomization.yaml", "resources: [../../prod]\n")...)
	for paths, want := range map[string]string{
		"prod":                         prod,
		"prod/kustomization.yaml prod": prod,
		"test/kustomization.yaml":      test,
		"test prod":                    test + ", " + prod,
		"k8s":                          prod + ", Pod default/b k8s/x.yaml:1",
		"./test/../test/":              test,
	} {
		set, err := manifest.Load(strings.Fields(paths), nil, manifest.Strict)
		if err != nil {
			t.Errorf("%s: %v", paths, err)
			continue
		}
		if got := strings.Join(names(t, set), ", "); got != want {
			t.Errorf("%s: got %s\nwant %s", paths, got, want)
		}
	}
}

// TestKustomizeObjects: what is built is what the overlay says; positions lead to the lines that
// people can edit.
func TestKustomizeObjects(t *testing.T) {
	folder(t, overlays...)
	set, err := manifest.Load([]string{"prod"}, nil, manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	p := set.Netpol().Policies[0]
	if p.Spec.Ingress[0].Ports[0].Port.IntValue() != 8080 || p.Labels["env"] != "prod" || len(p.Annotations) > 0 {
		t.Errorf("built %+v", p)
	}
	if got := set.Position("NetworkPolicy", "shop", "prod-api", "spec.ingress[0].ports[0].port").String(); got != "base/policy.yaml:8" {
		t.Errorf("the port is at %s", got)
	}
	if len(set.Skipped) != 1 {
		t.Errorf("skipped %v, want the ConfigMap", set.Skipped)
	}
}

func TestKustomizeRefuses(t *testing.T) {
	tests := []struct{ name, kustomization, api, want string }{
		{"URL", "resources: ['https://example.com/x.yaml']", pod, "nothing is fetched"},
		{"repository", "resources: ['github.com/owner/name']", pod, "nothing is fetched"},
		{"repository that is also a directory", "resources: ['github.com/owner']", pod, "nothing is fetched"},
		{"repository that is also a file", "resources: ['github.com/owner/x.yaml']", pod, "nothing is fetched"},
		{"repository by ssh", "resources: ['git@example.com:owner/name']", pod, "nothing is fetched"},
		{"component", "components: ['https://example.com/x']", pod, "nothing is fetched"},
		{"patch by URL", "resources: [api.yaml]\npatches: [{path: 'https://example.com/p.yaml'}]", pod, "is not a file"},
		{"patch by URL, in capitals", "resources: [api.yaml]\npatches: [{PATH: 'https://example.com/p.yaml'}]", pod, "is not a file"},
		{"replacement by URL", "replacements: [{path: 'http://example.com/p.yaml'}]", pod, "is not a file"},
		{"old patch by URL", "patchesStrategicMerge: ['http://example.com/p.yaml']", pod, "is not a file"},
		{"configuration by URL", "configurations: ['http://example.com/p.yaml']", pod, "is not a file"},
		{"ConfigMap by URL", "configMapGenerator: [{name: a, files: ['x=http://example.com/p.yaml']}]", pod, "is not a file"},
		{"Secret by URL", "secretGenerator: [{name: a, envs: ['http://example.com/p.yaml']}]", pod, "is not a file"},
		{"helm", "helmCharts: [{name: x, repo: 'https://example.com'}]", pod, "kustomization.yaml:1: field helmCharts is not permitted"},
		{"generators", "resources: [api.yaml]\ngenerators: [g.yaml]", pod, "kustomization.yaml:2: field generators is not permitted"},
		{"transformers", "transformers: [g.yaml]", pod, "field transformers is not permitted"},
		{"a file outside", "resources: [../outside.yaml]", pod, `"../outside.yaml" is not a file below its folder`},
		{"a folder without", "resources: [../empty]", pod, "directory ../empty has no kustomization.yaml"},
		{"absolute", "resources: ['/etc']", pod, `"/etc" is not a file`},
		{"missing", "resources: [nope.yaml]", pod, `kustomization.yaml: "nope.yaml" is not a file`},
		{"itself", "resources: [../k]", pod, "refers to itself"},
		{"malformed", "resources: [", pod, "kustomization.yaml:1: malformed YAML"},
		{"a malformed resource", "resources: [api.yaml]", pod + "spec: [\n", "api.yaml:4: malformed YAML"},
		{"a billion laughs", "resources: [api.yaml]", laughs(), "aliases add more than 16 MiB"},
		{"a billion laughs in a patch", "resources: [api.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(laughs(), "\n", "\n    "), pod, "aliases add more than 16 MiB"},
		{"a kustomization as a file", "resources: [sub/kustomization.yaml, sub]", pod, `"sub/kustomization.yaml" is a kustomization; refer to its folder`},
		{"a component alone", "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1", pod, "a Component is built as part of a kustomization that names it"},
		{"a link out", "resources: [link.yaml]", pod, "escapes"},
		{"a link to a folder", "resources: [../linked]", pod, "links between folders are not followed"},
		{"a misspelt field", "resources: [api.yaml]\nnamespace: shop", policy + "spek: {}\n", "NetworkPolicy shop/api: unknown field spek"},
	}
	for _, tt := range tests {
		folder(t, "k/kustomization.yaml", tt.kustomization, "k/api.yaml", tt.api, "k/github.com/owner/kustomization.yaml", "resources: []",
			"k/github.com/owner/x.yaml", "[", "k/sub/kustomization.yaml", "helmCharts: []", "outside.yaml", pod, "empty/x.txt", "", "else/where/kustomization.yaml", "resources: []")
		for old, new := range map[string]string{"../outside.yaml": "k/link.yaml", "else/where": "linked"} {
			if err := os.Symlink(old, new); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir("k")
		_, err := manifest.Load([]string{"."}, nil, manifest.Strict)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "read manifests: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

// TestKustomizeComponent: a component counts where it is named, and nowhere else.
func TestKustomizeComponent(t *testing.T) {
	folder(t, "c/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [b.yaml]\n", "c/b.yaml", podB,
		"k/kustomization.yaml", "resources: [a.yaml]\ncomponents: [../c]\n", "k/a.yaml", pod)
	set, err := manifest.Load([]string{"."}, nil, manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, set), ", "), "Pod default/a k/a.yaml:1, Pod default/b c/b.yaml:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestKustomizeBomb: few files that include each other twice at each level are an error, not a day's work.
func TestKustomizeBomb(t *testing.T) {
	files := []string{"0/kustomization.yaml", "resources: [a.yaml]\n", "0/a.yaml", pod}
	for i := range 100 {
		for _, side := range []string{"x", "y"} {
			files = append(files, fmt.Sprintf("%d%s/kustomization.yaml", i, side), fmt.Sprintf("resources: [../%d]\nnamePrefix: %s\n", i, side))
		}
		files = append(files, fmt.Sprintf("%d/kustomization.yaml", i+1), fmt.Sprintf("resources: [../%dx, ../%dy]\n", i, i))
	}
	folder(t, files...)
	_, err := manifest.Load([]string{"100"}, nil, manifest.Strict)
	want := "read manifests: kustomization 100: including the same files several times adds more than 16 MiB"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestKustomizeTwice: an overlay and its base are the same objects, and the error says how they came.
func TestKustomizeTwice(t *testing.T) {
	folder(t, append(overlays, "also/kustomization.yaml", "resources: [../base]\nnamespace: test\n")...)
	_, err := manifest.Load([]string{"."}, nil, manifest.Strict)
	want := "read manifests: Service test/api is given twice: base/api.yaml:2 (through the kustomization also) and base/api.yaml:2 (through the kustomization test); remove one"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
