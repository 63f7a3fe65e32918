// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

// TestLoadRefuses: each error names file, line and what to do, in one line.
func TestLoadRefuses(t *testing.T) {
	nested := "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  x:\n" + func() (deep string) {
		for i := range 100 {
			deep += strings.Repeat(" ", i+4) + "x:\n"
		}
		return deep
	}()
	tests := []struct{ name, text, want string }{
		// Syntax: the line of the fault, not of the document.
		{"a bad indent", pod + "---\nkind: Pod\napiVersion: v1\nspec:\n  a: b\n c: d\n", "x.yaml:9: malformed YAML: did not find expected key"},
		{"an open bracket", pod + "spec: [\n", "x.yaml:4: malformed YAML: did not find expected node content"},
		{"an open quote", pod + "spec: \"\n\n", "x.yaml:5: malformed YAML: found unexpected end of stream (while scanning a quoted scalar that begins at line 4)"},
		{"a tab", pod + "spec:\n\ta: b\n", "x.yaml:5: malformed YAML: found"},
		{"two colons", pod + "spec: a: b\n", "x.yaml:4: malformed YAML: mapping values are not allowed"},
		{"an unknown alias", pod + "spec: *x\n", "x.yaml:4: malformed YAML: unknown anchor 'x' referenced"},
		{"a template", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n", "x.yaml:4: the key of a mapping must be a word; if this is a template, render it first"},
		{"a template's line", "{{- if .Values.x }}\n" + pod, "x.yaml:1: malformed YAML: did not find expected node content; if this is a template"},
		{"content that kubectl would drop", "  apiVersion: v1\n  kind: Pod\nmetadata: {name: a}\n", "x.yaml:3: malformed YAML: did not find expected <document start>"},
		{"content after a value", "{apiVersion: v1}\n{kind: Pod}\n", "x.yaml:2: malformed YAML"},
		{"content after the end", pod + "...\n" + podB, "x.yaml:5: content after the end of the document (...); begin a new one with ---"},
		{"a line break that only YAML knows", pod + "a: \"\u2028---\u2028" + podB, "x.yaml:"},
		{"binary", pod + "x: \xff\n", "x.yaml:4: not UTF-8; is it a text file?"},
		{"control character", pod + "x: \x01\n", "x.yaml:4: control character U+0001; is it a text file?"},
		{"JSON cut off", "{\"apiVersion\": \"v1\",\n\"kind\": \"Pod\",\n", "x.yaml:2: malformed YAML"},
		{"JSON, the second cut off", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n{\"apiVersion\":\n", "x.yaml:2: malformed JSON: the file ends within a value"},
		{"JSON, the second malformed", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n{\"a\":\n}\n", "x.yaml:3: malformed JSON: invalid character '}'"},

		// Structure.
		{"a key twice", pod + "spec:\n  a: 1\n  b: 2\n  a: 3\n", `x.yaml:7: key "a" is given twice, first at line 5; remove one`},
		{"a key twice in JSON", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}", `x.yaml:2: key "kind" is given twice, first at line 1`},
		{"a key twice in an item of JSON", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}]}", `x.yaml:3: key "kind" is given twice, first at line 2`},
		{"items twice in JSON", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [],\n\"items\": []}", `x.yaml:2: key "items" is given twice, first at line 1`},
		{"a key twice in an item", "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  kind: Pod\nkind: List\n", `x.yaml:5: key "kind" is given twice, first at line 4`},
		{"items twice", "apiVersion: v1\nitems:\n- kind: Pod\nkind: List\nitems: []\n", `x.yaml:5: key "items" is given twice, first at line 2`},
		{"100 levels", nested, "x.yaml:69: nested more than 64 levels deep"},
		{"100 levels of JSON", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\"spec\":\n" + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "x.yaml:3: nested more than 64 levels deep"},
		{"200,000 levels", "apiVersion: v1\nkind: Pod\nspec: " + strings.Repeat("[", 200_000), "x.yaml:"},
		{"a billion laughs", laughs(), "aliases add more than 16 MiB to the document; write it out"},
		{"an alias to itself", pod + "spec: &a {x: *a}\n", `x.yaml:4: alias "a" contains itself`},
		{"infinity", pod + "spec: {priority: .inf}\n", "x.yaml:1: json: unsupported value"},
		{"nothing", "# nothing\n", "x.yaml: no Kubernetes object in it"},
		{"a text", "hello\n", "x.yaml: no Kubernetes object in it"},
		{"a list", "- a\n", "x.yaml: no Kubernetes object in it"},

		// Versions.
		{"an old policy", "\napiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: api, namespace: shop}\n", `x.yaml:2: NetworkPolicy shop/api: apiVersion "extensions/v1beta1" is not read; use networking.k8s.io/v1`},
		{"an old Deployment", "kind: Deployment\nmetadata: {name: api}\napiVersion: apps/v1beta1\n", `x.yaml:3: Deployment api: apiVersion "apps/v1beta1" is not read; use apps/v1`},
		{"a Deployment of v1", "apiVersion: v1\nkind: Deployment\nmetadata: {name: api}\n", "use apps/v1"},
		{"AdminNetworkPolicy", "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\n", "x.yaml:1: AdminNetworkPolicy a: apiVersion policy.networking.k8s.io/v1alpha1: convert it to a ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2 with spec.tier Admin"},
		{"BaselineAdminNetworkPolicy", "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: a}\n", "with spec.tier Baseline"},
		{"no version", "kind: Pod\nmetadata: {name: a}\n", "x.yaml:1: apiVersion of Pod is missing; use v1"},
		{"no version at all", "kind: Pod\napiVersion: a/b/c\n", "x.yaml:2: unexpected GroupVersion string: a/b/c"},

		// Fields.
		{"an unknown field", policy + "spec:\n  podSelector: {}\n  ingress:\n  - from: []\n  - from:\n    - podSelectr: {}\n", "x.yaml:9: NetworkPolicy shop/api: unknown field spec.ingress[1].from[0].podSelectr"},
		{"an unknown field of an item", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: b}\n  spek: {}\n", "x.yaml:7: NetworkPolicy b: unknown field spek"},
		{"a field of another type", policy + "spec:\n  podSelector: {}\n  ingress: yes\n", "x.yaml:6: NetworkPolicy shop/api: spec.ingress: a value of type bool does not fit"},
		{"a number for a label", policy + "spec:\n  podSelector:\n    matchLabels:\n      app: 1\n", "NetworkPolicy shop/api: spec.podSelector.matchLabels: a value of type number does not fit"},

		// Objects.
		{"given twice", policy + "---\n" + podB + "---\n" + policy, "NetworkPolicy shop/api is given twice: x.yaml:1 and x.yaml:9; remove one"},
		{"given twice, once by default", pod + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default}\n", "Pod default/a is given twice: x.yaml:1 and x.yaml:5; remove one"},
		{"no name", "apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: shop\n", "x.yaml:3: Pod: metadata.name is missing"},
		{"a namespace too many", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  namespace: shop\n", "x.yaml:5: Namespace shop/shop: metadata.namespace: the kind has no namespaces; remove it"},
		{"a label's value", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    app: " + strings.Repeat("x", 1<<20) + "\n", `x.yaml:6: Pod default/a: metadata.labels[app]: value "` + strings.Repeat("x", 80) + `"… (1048576 bytes): must be no more than 63`},
		{"a label's key", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    a b: c\n", `x.yaml:6: Pod default/a: metadata.labels: key "a b": name part must consist of`},
		{"a template's label", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec:\n  jobTemplate:\n    spec:\n      template:\n        metadata:\n          labels:\n            a: b c\n", `x.yaml:10: CronJob default/a: spec.jobTemplate.spec.template.metadata.labels[a]: value "b c": a valid label must be`},
		{"a selector's label", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector:\n    matchLabels: {a: b c}\n", `x.yaml:6: Deployment default/a: spec.selector.matchLabels[a]: value "b c"`},
		{"a Service's selector", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  selector: {a: b c}\n", `x.yaml:5: Service default/a: spec.selector[a]: value "b c"`},
		{"a controller's selector", "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: a}\nspec:\n  selector: {a: b c}\n", `x.yaml:5: ReplicationController default/a: spec.selector[a]: value "b c"`},
	}
	for _, tt := range tests {
		folder(t, "x.yaml", tt.text)
		began := time.Now()
		_, err := manifest.Load([]string{"x.yaml"}, nil, manifest.Strict)
		if err == nil || !strings.HasPrefix(err.Error(), "read manifests: ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %.300v\nwant one line with %s", tt.name, err, tt.want)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s: took %v", tt.name, d)
		}
	}
}

// laughs is the attack of the billion laughs: 11 lines that stand for 10^9 words.
func laughs() string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\na0: &a0 [lol]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

func TestLoadAllUnknownFields(t *testing.T) {
	_, err := manifest.Load([]string{"-"}, strings.NewReader(policy+"spek: {}\nspec:\n  ingres: []\n"), manifest.Strict)
	want := "read manifests: stdin:4: NetworkPolicy shop/api: unknown field spek\nstdin:6: NetworkPolicy shop/api: unknown field spec.ingres"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLoadWarnsOfUnknownFields: in other objects than policies they are a newer server's, mostly.
func TestLoadWarnsOfUnknownFields(t *testing.T) {
	set, err := manifest.Load([]string{"-"}, strings.NewReader(pod+"spek: {}\nspec:\n  containerz: []\n"), manifest.Strict)
	if err != nil || len(set.Objects) != 1 {
		t.Fatal(err)
	}
	if want := "2 fields are not known and were left out, the first at stdin:4: Pod a: unknown field spek"; strings.Join(set.Warnings, "\n") != want {
		t.Errorf("warnings %q, want %s", set.Warnings, want)
	}
}
