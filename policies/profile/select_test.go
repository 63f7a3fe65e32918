// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"
	"testing"

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

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		labels                  map[string]string
		name, profile, selected string // profile is empty: none
		named                   bool
	}{
		{nil, "standard", "standard", "standard", false},
		{map[string]string{"tier": "db"}, "standard", "standard", "standard", false},
		{map[string]string{"tier": "web"}, "web", "web", "web", false},
		{map[string]string{"tier": "web", "pci": "yes"}, "card", "card", "card", false}, // by priority, then by name
		{map[string]string{"tier": "batch"}, "last", "last", "last", false},             // as low as standard, and before it by name
		{map[string]string{"tier": "web", baseline.LabelProfile: "unselective"}, "unselective", "unselective", "web", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "strict"}, "strict", "strict", "web", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "broken"}, "broken", "broken", "web", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: "gone"}, "gone", "", "web", true},
		{map[string]string{"tier": "web", baseline.LabelProfile: ""}, "", "", "web", true},
	} {
		c, held := some(t).Choose(test.labels), ""
		if c.Profile != nil {
			held = c.Profile.Name
		}
		if c.Name != test.name || held != test.profile || c.Selected.Name != test.selected || c.Named != test.named {
			t.Errorf("%v: %q, profile %q, selected %q, named %v; want %+v", test.labels, c.Name, held, c.Selected.Name, c.Named, test)
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
