// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	rules "github.com/bulkhead-dev/bulkhead/policies/rego"
)

// The seven rules that come with Bulkhead compile strictly and pass their own tests: New does both.
func TestEmbeddedRules(t *testing.T) {
	e, err := New(t.Context(), Config{Rules: []Source{Embedded()}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"namespace/mode_weakened", "namespace/owner_required", "namespace/profile_unmet", "namespace/reserved_name",
		"networkpolicy/allow_all", "networkpolicy/every_address", "networkpolicy/managed",
	}
	if got := e.Rules(); !slices.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
}

func TestEmbeddedRulesAreFormatted(t *testing.T) {
	files, err := regoFiles(rules.Files, ".", 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 14 {
		t.Errorf("%d files, want 14: %q", len(files), files)
	}
	for _, name := range files {
		text, err := fs.ReadFile(rules.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source(name, text)
		if err != nil {
			t.Fatal(err)
		}
		if string(formatted) != string(text) {
			t.Errorf("%s: run opa fmt -w on it; it should be:\n%s", path.Join("policies/rego", name), formatted)
		}
	}
}

// What the rules say about objects as users write them: YAML, compiled by netpol.
func TestEmbeddedRulesOnObjects(t *testing.T) {
	e := engine(t, Config{Rules: []Source{Embedded()}})
	for name, c := range map[string]struct{ spec, want string }{
		"deny all":                {`{podSelector: {}, policyTypes: [Ingress, Egress]}`, ""},
		"empty ingress":           {`{podSelector: {}, ingress: []}`, ""},
		"ingress from everyone":   {`{podSelector: {}, ingress: [{}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"empty from":              {`{podSelector: {}, ingress: [{from: []}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"egress to everyone":      {`{podSelector: {}, policyTypes: [Egress], egress: [{}]}`, "networkpolicy/allow_all spec.egress[0]"},
		"egress does not count":   {`{podSelector: {}, policyTypes: [Ingress], egress: [{}]}`, ""},
		"every namespace":         {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"every namespace, 9090":   {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 9090}]}]}`, ""},
		"every namespace, TCP":    {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{protocol: TCP}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"every port as a range":   {`{podSelector: {}, ingress: [{ports: [{port: 1, endPort: 65535}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"named namespaces":        {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}]}]}`, ""},
		"own namespace":           {`{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`, ""},
		"namespaces that exist":   {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"all namespaces but one":  {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b, c]}]}}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"namespaces without a":    {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}}]}]}`, "networkpolicy/allow_all spec.ingress[0]"},
		"every IPv4 address":      {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 443}]}]}`, "networkpolicy/every_address spec.egress[0]"},
		"every IPv6 address":      {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: "::/0"}}]}]}`, "networkpolicy/every_address spec.egress[0]"},
		"halves in two rules":     {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/1}}]}, {to: [{ipBlock: {cidr: 128.0.0.0/1}}]}]}`, "networkpolicy/every_address spec.egress"},
		"all but the metadata":    {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32]}}]}]}`, "networkpolicy/every_address spec.egress[0]"},
		"all but the private":     {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12]}}]}]}`, ""},
		"a range of a partner":    {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}`, ""},
		"an address with no mask": {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.7}}]}]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			for _, r := range evaluate(t, e, created(t, c.spec)) {
				found = append(found, r.Rule+" "+r.Path)
				if r.Fix == "" || r.Action != Deny {
					t.Errorf("result %+v, want a deny with a fix", r)
				}
			}
			if got := strings.Join(found, ", "); got != c.want {
				t.Errorf("violations %q, want %q", got, c.want)
			}
		})
	}
}

// created is the creation of a NetworkPolicy with the given spec in YAML.
func created(t testing.TB, spec string) Input {
	t.Helper()
	text := "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: api, namespace: shop}, spec: " + spec + "}"
	var object map[string]any
	var policy networkingv1.NetworkPolicy
	if err := errors.Join(yaml.UnmarshalStrict([]byte(text), &policy), yaml.Unmarshal([]byte(text), &object)); err != nil {
		t.Fatal(err)
	}
	view := netpol.View(&policy)
	return Input{Operation: "CREATE", Object: object, Policy: &view, User: User{Username: "dev"}}
}

// Whatever rules are given, they answer or fail: no input makes them panic, no answer is without a
// message, and asking twice gives the same.
func FuzzEvaluate(f *testing.F) {
	e, err := New(f.Context(), Config{Rules: []Source{Embedded()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"kind":"Namespace","metadata":{"name":"kube-x"}}`, `null`, `{}`, "CREATE", "dev", false)
	f.Add(`{"kind":"Namespace","metadata":{"labels":{}}}`, `{"kind":"Namespace","metadata":{"labels":{"bulkhead.dev/mode":"enforce"}}}`, `{}`, "UPDATE", "dev", false)
	f.Add(`{"kind":"NetworkPolicy","spec":{"ingress":[{"from":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}]}}`, `{}`, `{"networkpolicy/allow_all":{"maxPorts":"x"}}`, "CREATE", "", true)
	f.Add(`{"kind":"NetworkPolicy","metadata":{"labels":{"bulkhead.dev/managed-by":7}},"spec":{"egress":[{"ports":[{"port":1,"endPort":9}]}]}}`, `{"kind":1}`, `{"networkpolicy/managed":{"users":1}}`, "DELETE", "a", false)
	f.Fuzz(func(t *testing.T, object, old, params, operation, username string, trusted bool) {
		in := Input{Operation: operation, User: User{Username: username, Trusted: trusted}}
		given := map[string]map[string]any{}
		if errors.Join(json.Unmarshal([]byte(object), &in.Object), json.Unmarshal([]byte(old), &in.OldObject), json.Unmarshal([]byte(params), &given)) != nil {
			t.Skip()
		}
		for _, r := range *e.rules.Load() { // also such as would not be loaded
			value, err := ast.InterfaceToValue(given[r.id])
			if err != nil {
				t.Fatal(err)
			}
			r.params = value
		}
		var policy, oldPolicy networkingv1.NetworkPolicy
		if json.Unmarshal([]byte(object), &policy) == nil && json.Unmarshal([]byte(old), &oldPolicy) == nil {
			view, oldView := netpol.View(&policy), netpol.View(&oldPolicy)
			in.Policy, in.OldPolicy = &view, &oldView
		}
		first, second := evaluateTwice(t, e, in)
		if !slices.Equal(first, second) {
			t.Errorf("asked twice: %v and %v", first, second)
		}
		for _, r := range first {
			if r.Message == "" || r.Rule == "" || r.Action != Deny || len(r.Message) > maxText+len("…") {
				t.Errorf("result %+v", r)
			}
		}
	})
}

func evaluateTwice(t *testing.T, e *Engine, in Input) (first, second []Result) {
	t.Helper()
	return evaluate(t, e, in), evaluate(t, e, in)
}

func BenchmarkEvaluate(b *testing.B) {
	namespace := Input{Operation: "CREATE", User: User{Username: "dev"}, Object: map[string]any{
		"kind":     "Namespace",
		"metadata": map[string]any{"name": "shop", "labels": map[string]any{"bulkhead.dev/owner": "web"}},
	}}
	for name, in := range map[string]Input{
		"Namespace": namespace,
		"NetworkPolicy": created(b, `{podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress, Egress],
			ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 3000}]}],
			egress: [{to: [{podSelector: {matchLabels: {app: database}}}], ports: [{port: 5432}]},
				{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}]}`),
		"NetworkPolicy/every-address": created(b, `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`),
	} {
		b.Run(name, func(b *testing.B) {
			e, err := New(b.Context(), Config{Rules: []Source{Embedded()}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Evaluate(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	e, err := New(b.Context(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Load(b.Context(), []Source{Embedded()}); err != nil {
			b.Fatal(err)
		}
	}
}
