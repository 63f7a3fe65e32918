// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

var (
	ingress = baseline.Directions{Ingress: true}
	egress  = baseline.Directions{Egress: true}
)

// sides is the world with policies of these directions.
func sides(t *testing.T, d baseline.Directions) world {
	t.Helper()
	w := load(t)
	w.policies = proof.Sides(w.policies, d)
	return w
}

func TestSides(t *testing.T) {
	untyped := policy(t, "shop", "untyped", `{podSelector: {}, ingress: [{}], egress: [{}]}`)
	for _, tt := range []struct {
		d    baseline.Directions
		want string
	}{
		{baseline.Directions{}, "[] 1 1"},
		{baseline.BothDirections(), "[] 1 1"},
		{ingress, "[Ingress] 1 0"},
		{egress, "[Egress] 0 1"},
	} {
		p := proof.Sides([]*networkingv1.NetworkPolicy{untyped}, tt.d)[0]
		if got := fmt.Sprint(p.Spec.PolicyTypes, len(p.Spec.Ingress), len(p.Spec.Egress)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.d, got, tt.want)
		}
	}
	if left := proof.Sides([]*networkingv1.NetworkPolicy{policy(t, "shop", "x", `{podSelector: {}}`)}, egress); left != nil {
		t.Errorf("%v is left of a policy without egress", left)
	}
	if untyped.Spec.PolicyTypes != nil || untyped.Spec.Egress == nil {
		t.Error("the given policy was changed")
	}
}

// TestUngoverned: the proof speaks of the governed directions only, and says which are not.
func TestUngoverned(t *testing.T) {
	for _, tt := range []struct {
		name        string
		d           baseline.Directions
		connections int
		ungoverned  string
	}{
		{"both", baseline.BothDirections(), 16, ""},
		{"ingress", ingress, 8, "egress of namespace shop"},
		{"egress", egress, 12, "ingress of namespace shop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := sides(t, tt.d).prove(t)
			var ungoverned []string
			for _, u := range r.Ungoverned {
				ungoverned = append(ungoverned, u.String())
			}
			if !r.Proven || r.Connections != tt.connections || len(r.Excess.Open) > 0 || r.Excess.Count > 0 || strings.Join(ungoverned, ",") != tt.ungoverned {
				t.Errorf("%d connections, ungoverned %v: %+v", r.Connections, ungoverned, r)
			}
		})
	}
}

// TestUngovernedIsStillJudged: where a policy isolates one workload in a direction that nobody governs, it counts.
func TestUngovernedIsStillJudged(t *testing.T) {
	w := sides(t, ingress)
	w.policies = append(w.policies, policy(t, "shop", "hand", `{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}`))
	r := w.prove(t)
	if r.Proven || !slices.ContainsFunc(r.Broken, func(b proof.Broken) bool {
		return strings.Contains(b.Connection, "Deployment shop/api → 203.0.113.7")
	}) {
		t.Errorf("broken %v, want the way from api to 203.0.113.7", r.Broken)
	}
	w = sides(t, ingress)
	w.policies = append(w.policies, policy(t, "shop", "hand", `{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: nobody}}}]}, {}]}`))
	if r := w.prove(t); !slices.Equal(r.Surplus, []string{"NetworkPolicy shop/hand spec.egress[0]"}) {
		t.Errorf("surplus %v", r.Surplus)
	}
}

// TestProveIn: what is asked for wins over what policies govern.
func TestProveIn(t *testing.T) {
	w := sides(t, ingress)
	r, err := proof.ProveIn(map[string]baseline.Directions{"shop": baseline.BothDirections(), "other": egress}, w.policies, w.connections, w.sample, w.dns)
	if err != nil || len(r.Ungoverned) > 0 || len(r.Excess.Open) != 5 || r.Connections != 16 {
		t.Errorf("%v, %+v", err, r)
	}
}
