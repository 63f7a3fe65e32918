// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// read makes a profile of YAML of its spec.
func read(t *testing.T, name, spec string) *Profile {
	t.Helper()
	p := &Profile{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return p
}

func some(t *testing.T) *Set {
	t.Helper()
	return NewSet(baseline.Audit, []*Profile{
		read(t, "web", `{startingMode: enforce, namespaceSelector: {matchLabels: {tier: web}}}`),
		read(t, "payment", `{startingMode: enforce, priority: 10, namespaceSelector: {matchLabels: {pci: "yes"}}}`),
		read(t, "card", `{startingMode: enforce, priority: 10, namespaceSelector: {matchExpressions: [{key: pci, operator: Exists}]}}`),
		read(t, "unselective", `{startingMode: audit, priority: 1000}`),
		read(t, "last", `{startingMode: audit, priority: -1000, namespaceSelector: {matchLabels: {tier: batch}}}`),
		read(t, "broken", `{startingMode: audit, priority: 1000, namespaceSelector: {matchExpressions: [{key: tier, operator: Is}]}}`),
		read(t, "wrong", `{startingMode: never, priority: 1000, namespaceSelector: {}}`),
		read(t, "strict", `{startingMode: observe, priority: 1000, namespaceSelector: {}}`),
	})
}

func TestOf(t *testing.T) {
	for _, test := range []struct {
		labels map[string]string
		want   string // empty: none
		named  bool
	}{
		{nil, "standard", false},
		{map[string]string{"tier": "db"}, "standard", false},
		{map[string]string{"tier": "web"}, "web", false},
		{map[string]string{"tier": "web", "pci": "yes"}, "card", false}, // by priority, then by name
		{map[string]string{"tier": "batch"}, "last", false},             // as low as standard, and before it by name
		{map[string]string{"tier": "web", baseline.LabelProfile: "unselective"}, "unselective", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "strict"}, "strict", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "broken"}, "broken", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "gone"}, "", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: ""}, "", true},
	} {
		p, named := some(t).Of(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: test.labels}})
		got := ""
		if p != nil {
			got = p.Name
		}
		if got != test.want || named != test.named {
			t.Errorf("%v: %q, %v, want %q, %v", test.labels, got, named, test.want, test.named)
		}
	}
}

func TestSetHasInvalidProfiles(t *testing.T) {
	s := some(t)
	for name, invalid := range map[string]bool{"broken": true, "wrong": true, "web": false, "gone": false, "strict": false} {
		if got := s.Invalid(name) != nil; got != invalid || s.Get(name) == nil != (name == "gone") {
			t.Errorf("%s: invalid %v, want %v; %v", name, got, invalid, s.Get(name))
		}
	}
}

func TestAllIsByName(t *testing.T) {
	var names []string
	for _, p := range some(t).All() {
		names = append(names, p.Name)
	}
	want := []string{"broken", "card", "last", "observe", "payment", "standard", "strict", "unselective", "web", "wrong"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

// TestShippedCannotBeReplaced: whoever can write Profiles cannot weaken those that others rely on.
func TestShippedCannotBeReplaced(t *testing.T) {
	if p := some(t).Get(StrictName); p.Starting() != baseline.Enforce || p.Minimum() != baseline.Enforce || p.Spec.NamespaceSelector != nil {
		t.Errorf("strict is %+v", p.Spec)
	}
}

func TestShipped(t *testing.T) {
	want := map[string][2]baseline.Mode{
		"observe":  {baseline.Observe, baseline.Observe},
		"standard": {baseline.Audit, baseline.Observe},
		"strict":   {baseline.Enforce, baseline.Enforce},
	}
	var names []string
	for _, p := range Shipped(baseline.Audit) {
		names = append(names, p.Name)
		if got := [2]baseline.Mode{p.Starting(), p.Minimum()}; got != want[p.Name] {
			t.Errorf("%s: starting and minimum mode %v, want %v", p.Name, got, want[p.Name])
		}
		if errs := p.Validate(); errs != nil || !IsShipped(p.Name) {
			t.Errorf("%s: shipped %v, %v", p.Name, IsShipped(p.Name), errs)
		}
	}
	if !slices.Equal(names, []string{"observe", "standard", "strict"}) || IsShipped("web") {
		t.Errorf("names %v", names)
	}
}

func TestModesOfAnUncheckedProfile(t *testing.T) {
	p := &Profile{Spec: Spec{StartingMode: "Enforce", MinimumMode: "none"}}
	if p.Starting() != baseline.Enforce || p.Minimum() != baseline.Observe {
		t.Errorf("%s, %s: want enforce, observe", p.Starting(), p.Minimum())
	}
}
