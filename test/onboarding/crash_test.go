// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// As bin/onboarding crash does it with 200 kills.
func TestCrashesLeaveNothingBehind(t *testing.T) {
	c := crash{setup: ofRepository(t, 1), rounds: 1, kills: 10}
	var out bytes.Buffer
	if err := c.run(t.Context(), &out, t.Output()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}

// As bin/onboarding handover does it with 30 kills.
func TestHandover(t *testing.T) {
	c := handover{setup: ofRepository(t, 1), kills: 3, within: 2 * time.Second}
	var out bytes.Buffer
	if err := c.run(t.Context(), &out, t.Output()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}

// Every way in which a namespace can differ is noticed.
func TestDifferences(t *testing.T) {
	shop := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "1", Labels: map[string]string{
		baseline.LabelMode: "audit", baseline.LabelProfile: teamProfile,
	}}}
	for name, change := range map[string]func(w *world){
		"a policy is missing": func(w *world) { w.policies.Items = w.policies.Items[1:] },
		"a policy too many": func(w *world) {
			w.policies.Items = append(w.policies.Items, *baseline.DefaultDeny("shop"))
			w.policies.Items[3].Name = "x"
		},
		"another spec":             func(w *world) { w.policies.Items[0].Spec.PolicyTypes = nil },
		"another label":            func(w *world) { w.policies.Items[0].Labels = nil },
		"of a namespace that went": func(w *world) { w.policies.Items[0].Annotations = nil },
		"mode observe":             func(w *world) { w.namespaces.Items[0].Labels = map[string]string{baseline.LabelProfile: teamProfile} },
		"a template":               func(w *world) { w.profiles.Items[0].Spec.Policies[0] = ingressTemplate("metrics", 1) },
		"no Bulkhead":              func(w *world) { w.bulkheads.Items = nil },
		"it shows another mode":    func(w *world) { w.bulkheads.Items[0].Status.Mode = "enforce" },
		"it is not ready":          func(w *world) { w.bulkheads.Items[0].Status.Conditions = nil },
	} {
		w := &world{namespaces: corev1.NamespaceList{Items: []corev1.Namespace{*shop.DeepCopy()}}}
		w.profiles.Items = []profile.Profile{{ObjectMeta: metav1.ObjectMeta{Name: teamProfile}, Spec: profile.Spec{
			StartingMode: "audit", Policies: []profile.Template{ingressTemplate("metrics", 9090)},
		}}}
		want, err := desired(shop, w.profileSet(), w.dns())
		if err != nil {
			t.Fatal(err)
		}
		shown := profile.Bulkhead{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Status: profile.BulkheadStatus{
			Mode: "audit", Profile: teamProfile, Summary: "3/3", Conditions: []metav1.Condition{{Type: profile.Ready, Status: metav1.ConditionTrue}},
			Policies: []string{baseline.AllowDNSName, baseline.DefaultDenyName, "bulkhead-metrics"},
		}}
		w.bulkheads.Items = []profile.Bulkhead{shown}
		for _, policy := range want {
			policy.Annotations = map[string]string{baseline.AnnotationNamespaceUID: "1"}
			w.policies.Items = append(w.policies.Items, *policy)
		}
		if wrong, err := w.differences(); err != nil || len(wrong) > 0 {
			t.Fatalf("nothing changed: %v, %v", wrong, err)
		}
		change(w)
		if wrong, err := w.differences(); err != nil || len(wrong) == 0 {
			t.Errorf("%s: not noticed (%v)", name, err)
		}
	}
}
