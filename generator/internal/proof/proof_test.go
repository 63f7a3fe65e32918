// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

const testCase = "../proposal/testdata/three-tier/"

// world is what was observed, and policies that are known to fit it.
type world struct {
	policies    []*networkingv1.NetworkPolicy
	connections []evidence.Connection
	sample      *inventory.Sample
	dns         baseline.DNSTargets
}

func load(t *testing.T) world {
	t.Helper()
	inv, err := inventory.FromDir(testCase + "inventory")
	if err != nil {
		t.Fatal(err)
	}
	attribution := inv.Attribute(edge.DefaultLimits)
	if _, err := flows.ReadFile(testCase+"flows.jsonl", 0, attribution.Add); err != nil {
		t.Fatal(err)
	}
	fold, err := attribution.Settle()
	if err != nil {
		t.Fatal(err)
	}
	found := evidence.Sort(fold.Edges(), inv, evidence.Criteria{})
	connections, err := found.Agreed([]string{"shop"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.Load([]string{testCase + "want/shop"}, nil, manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	policies, err := proof.Policies(set.Runtime())
	if err != nil {
		t.Fatal(err)
	}
	return world{policies, connections, inv.Sample(), baseline.DiscoverDNS(inv.DNSSources())}
}

func (w world) named(name string) *networkingv1.NetworkPolicy {
	i := slices.IndexFunc(w.policies, func(p *networkingv1.NetworkPolicy) bool { return p.Name == name })
	return w.policies[i]
}

func (w world) prove(t *testing.T) *proof.Report {
	t.Helper()
	r, err := proof.Prove(w.policies, w.connections, w.sample, w.dns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProven(t *testing.T) {
	r := load(t).prove(t)
	if !r.Proven || r.Connections != 16 || r.Excess.Count != 0 || len(r.Excess.Ranges) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestMutilated takes something away or adds something; each must be noticed and named.
func TestMutilated(t *testing.T) {
	wide := networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "203.0.113.0/24"}}
	tests := []struct {
		name                    string
		change                  func(world) world
		broken, surplus, ranges string // part of what is reported; empty: nothing may be
		excess                  int
	}{
		// What is broken at one side is needed no more at the other.
		{name: "a rule less", surplus: "shop/report spec.egress[0]", broken: "CronJob shop/report → StatefulSet shop/database TCP/5432", change: func(w world) world {
			w.named("database").Spec.Ingress = w.named("database").Spec.Ingress[:3]
			return w
		}},
		{name: "a policy less", surplus: "shop/database spec.ingress[3]", broken: "Egress denied", change: func(w world) world {
			w.policies = slices.DeleteFunc(w.policies, func(p *networkingv1.NetworkPolicy) bool { return p.Name == "report" })
			return w
		}},
		{name: "another port", broken: "TCP/3000", surplus: "shop/api spec.ingress[1]", excess: 1, change: func(w world) world {
			port := intstr.FromInt32(3001)
			w.named("api").Spec.Ingress[1].Ports[0].Port = &port
			w.named("frontend").Spec.Egress[0].Ports[0].Port = &port
			return w
		}},
		{name: "a peer too many", surplus: "shop/database spec.ingress[1].from[1]", change: func(w world) world {
			rule := &w.named("database").Spec.Ingress[1]
			rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "silent"}}})
			return w
		}},
		{name: "a port too many", surplus: "shop/database spec.ingress[3].ports[1]", change: func(w world) world {
			rule := &w.named("database").Spec.Ingress[3]
			port := intstr.FromInt32(22)
			rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Port: &port})
			return w
		}},
		{name: "every pod of the namespace", excess: 3, change: func(w world) world {
			w.named("database").Spec.Ingress[1].From[0].PodSelector = nil
			w.named("database").Spec.Ingress[1].From[0].NamespaceSelector = &metav1.LabelSelector{}
			w.named("frontend").Spec.Egress[0] = networkingv1.NetworkPolicyEgressRule{Ports: w.named("api").Spec.Egress[0].Ports}
			return w
		}, broken: "shop/api TCP/3000", surplus: "frontend spec.egress[0]", ranges: "everyone"},
		{name: "a wide block", ranges: "203.0.113.0/24", change: func(w world) world {
			w.named("api").Spec.Egress[1].To[0] = wide
			return w
		}, surplus: "spec.egress[2].to[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.change(load(t)).prove(t)
			var broken, ranges []string
			for _, b := range r.Broken {
				broken = append(broken, b.Connection+" "+b.Reason)
			}
			for _, x := range r.Excess.Ranges {
				ranges = append(ranges, x.Rule+" "+x.Range)
			}
			check(t, "broken", broken, tt.broken)
			check(t, "surplus", r.Surplus, tt.surplus)
			check(t, "ranges", ranges, tt.ranges)
			if tt.excess > 0 && r.Excess.Count == 0 {
				t.Error("nothing is said to be allowed in excess")
			}
			if r.Proven != (tt.broken == "" && tt.surplus == "") {
				t.Errorf("proven is %v", r.Proven)
			}
		})
	}
}

func check(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if want == "" && len(got) > 0 {
		t.Errorf("%s: %q, want none", what, got)
	}
	if want != "" && !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, want) }) {
		t.Errorf("%s: %q, want %q among them", what, got, want)
	}
}

func TestInvalidPolicyIsAnError(t *testing.T) {
	w := load(t)
	w.named("api").Spec.Egress[1].To[0].IPBlock.CIDR = "203.0.113.7/33"
	if _, err := proof.Prove(w.policies, w.connections, w.sample, w.dns); err == nil || !strings.Contains(err.Error(), "NetworkPolicy shop/api") {
		t.Errorf("got %v, want an error that names shop/api", err)
	}
	if _, err := proof.Policies(append(objectsOf(w), w.policies[0])); err == nil {
		t.Error("the same policy twice is no error")
	}
}

func objectsOf(w world) []runtime.Object {
	var out []runtime.Object
	for _, p := range w.policies {
		out = append(out, p)
	}
	return out
}
