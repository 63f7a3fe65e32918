// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// seeds are specs in YAML; the targets read JSON.
var seeds = []string{
	`{startingMode: audit, minimumMode: audit, priority: 3, namespaceSelector: {matchLabels: {a: b}}, requiredLabels: [bulkhead.dev/owner]}`,
	`{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchLabels: {a: "$(labels['a'])"}}, ingress: [{from: [{namespaceSelector: {}}]}]}}]}`,
	`{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [$(namespace), b]}]}}}]}`,
	`{startingMode: audit, policies: [{name: a, spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 1, endPort: 2}]}]}}]}`,
	`{startingMode: audit, policies: [{name: a, spec: {policyTypes: [Ingress, Egress]}}, {name: b, spec: {egress: [{ports: [{port: http, protocol: SCTP}]}]}}]}`,
	`{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchLabels: {a: $(foo}}}}]}`,
	`{namespaceSelector: {matchExpressions: [{key: "", operator: In}]}, requiredLabels: [""], policies: [{}, {name: default-deny}]}`,
}

func addSeeds(f *testing.F) {
	for _, seed := range seeds {
		text, err := yaml.YAMLToJSON([]byte(seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}

// FuzzValidate: whatever a profile says, it is judged, always alike, and a set of it has a profile for all.
func FuzzValidate(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p := &Profile{ObjectMeta: metav1.ObjectMeta{Name: "fuzz"}}
		if json.Unmarshal(text, &p.Spec) != nil {
			return
		}
		before := p.DeepCopy()
		errs := p.Validate()
		if again := p.Validate(); !reflect.DeepEqual(errs.ToAggregate(), again.ToAggregate()) {
			t.Errorf("first %v, then %v", errs, again)
		}
		if !reflect.DeepEqual(p, before) {
			t.Errorf("Validate changed the profile: %+v", p)
		}
		set := NewSet(baseline.Audit, []*Profile{p})
		if selected := set.Select(map[string]string{"a": "b"}); selected.Name != StandardName && (selected != p || errs != nil) {
			t.Errorf("selected %+v, with %v", selected, errs)
		}
	})
}

var label = regexp.MustCompile(`\$\(labels\['([^']*)'\]\)`)

// FuzzRender: a valid profile renders for every namespace that has the labels, to policies without a fault.
func FuzzRender(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p := &Profile{ObjectMeta: metav1.ObjectMeta{Name: "fuzz"}}
		if json.Unmarshal(text, &p.Spec) != nil {
			return
		}
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{}}}
		spec, err := json.Marshal(p.Spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range label.FindAllSubmatch(spec, -1) {
			namespace.Labels[string(found[1])] = "Team_a.b"
		}
		policies, err := p.Render(namespace)
		if p.Validate() != nil {
			return
		}
		if err != nil || len(policies) != len(p.Spec.Policies) {
			t.Fatalf("%d policies of %d: %v", len(policies), len(p.Spec.Policies), err)
		}
		if _, err := netpol.Compile(netpol.Objects{Policies: policies}); err != nil {
			t.Error(err)
		}
	})
}
