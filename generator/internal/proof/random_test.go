// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

const clusters = 150

// addresses are some that random rules name, alone or in ranges.
var addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("2001:db8::1")}

// TestAgreesWithOracle compares the proof of random policies for random connections with one that takes
// every part away and compiles what is left.
func TestAgreesWithOracle(t *testing.T) {
	var some struct{ allowed, broken, surplus, shadowed, unseen, reduced int }
	for i := range uint64(clusters) {
		w := randomWorld(random.New(7, i))
		r := w.prove(t)
		if want := w.surplus(); !slices.Equal(r.Surplus, want) {
			t.Errorf("cluster %d: surplus %q, want %q", i, r.Surplus, want)
		}
		w.checkConnections(t, i, r)
		w.checkExcess(t, i, r)
		some.reduced += w.checkReduced(t, i)
		some.allowed += r.Connections - len(r.Broken)
		some.broken, some.surplus = some.broken+len(r.Broken), some.surplus+len(r.Surplus)
		some.shadowed, some.unseen = some.shadowed+len(r.Shadowed), some.unseen+r.Excess.Count
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", some)
	for _, n := range []int{some.allowed, some.broken, some.surplus, some.shadowed, some.unseen, some.reduced} {
		if n < clusters/6 {
			t.Errorf("too little happened for a comparison: %+v", some)
		}
	}
}

// checkConnections compares what is broken, and the reasons for what is allowed.
func (w world) checkConnections(t *testing.T, cluster uint64, r *proof.Report) {
	t.Helper()
	s := w.compile(w.policies)
	var broken, reasons, got []string
	for _, c := range w.connections {
		if !w.concerns(c.From) && !w.concerns(c.To) {
			continue
		}
		if !w.allAllow(s, c) {
			broken = append(broken, c.String())
			continue
		}
		for _, v := range w.verdicts(s, c) {
			for _, o := range []*netpol.Origin{v.Egress.Rule, v.Ingress.Rule} {
				if o != nil && len(o.Name) <= 3 {
					reasons = append(reasons, fmt.Sprint(o.Name, o.Path, c.String()))
				}
			}
		}
	}
	for _, b := range r.Broken {
		got = append(got, b.Connection)
	}
	if !slices.Equal(got, broken) {
		t.Errorf("cluster %d: broken %q, want %q", cluster, got, broken)
	}
	got = nil
	for _, rule := range r.Rules {
		for _, c := range rule.Connections {
			got = append(got, fmt.Sprint(rule.Policy, rule.Path, c.String()))
		}
	}
	slices.Sort(got)
	slices.Sort(reasons)
	if reasons = slices.Compact(reasons); !slices.Equal(got, reasons) {
		t.Errorf("cluster %d: reasons %q, want %q", cluster, got, reasons)
	}
}

func (w world) concerns(e edge.Endpoint) bool {
	return e.IsPod() && slices.ContainsFunc(w.policies, func(p *networkingv1.NetworkPolicy) bool { return p.Namespace == e.Namespace })
}

// checkReduced compares what is left, and says how many parts went.
func (w world) checkReduced(t *testing.T, cluster uint64) int {
	t.Helper()
	reduced, r, err := proof.Reduce(w.policies, w.connections, w.sample, w.dns)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Surplus) > 0 {
		t.Errorf("cluster %d: not needed, and not taken away: %q", cluster, r.Surplus)
	}
	want, got := w.reduced(), map[string]*networkingv1.NetworkPolicy{}
	for _, p := range reduced {
		got[p.Namespace+"/"+p.Name] = isolating(p)
	}
	taken := 0
	for i, p := range want {
		taken += len(cuts(w.policies[i])) - len(cuts(p))
		left := got[p.Namespace+"/"+p.Name]
		if left == nil { // nothing is left, and another isolates its pods
			left = isolating(p)
			left.Spec.Ingress, left.Spec.Egress = nil, nil
		}
		if !equality.Semantic.DeepEqual(left.Spec.Ingress, p.Spec.Ingress) || !equality.Semantic.DeepEqual(left.Spec.Egress, p.Spec.Egress) {
			t.Errorf("cluster %d: reduced to %+v, want %+v", cluster, left.Spec, p.Spec)
		}
	}
	before, after := w.compile(w.policies), w.compile(reduced)
	for _, p := range w.sample.Pods {
		ref := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			if before.RuleSet(ref, d).Isolated != after.RuleSet(ref, d).Isolated {
				t.Errorf("cluster %d: %s is not isolated as before", cluster, ref)
			}
		}
	}
	return taken
}

// checkExcess asks about some ports between all workloads.
func (w world) checkExcess(t *testing.T, cluster uint64, r *proof.Report) {
	t.Helper()
	s, seen, unseen := w.compile(w.withoutBaseline()), map[string]bool{}, map[string][][2]int{}
	for _, c := range w.connections {
		seen[c.String()] = true
	}
	for _, u := range r.Excess.Pairs {
		first, last, ranged := strings.Cut(u.Ports, "-")
		if !ranged {
			last = first
		}
		from, _ := strconv.Atoi(first)
		to, _ := strconv.Atoi(last)
		pair := fmt.Sprintf("%s → %s %s", u.From, u.To, u.Protocol)
		unseen[pair] = append(unseen[pair], [2]int{from, to})
	}
	ends := w.sample.Workloads()
	for _, addr := range addresses {
		ends = append(ends, edge.Endpoint{Addr: addr})
	}
	for _, from := range ends {
		for _, to := range ends {
			if !w.concerns(from) && !w.concerns(to) || !from.IsPod() && !to.IsPod() {
				continue
			}
			for _, c := range someConnections(evidence.Connection{From: from, To: to}) {
				want := !seen[c.String()] && w.allowsUnseen(s, c)
				got := slices.ContainsFunc(unseen[fmt.Sprintf("%s → %s %s", from, to, c.Protocol)], func(r [2]int) bool {
					return r[0] <= int(c.Port) && int(c.Port) <= r[1]
				})
				if got != want {
					t.Errorf("cluster %d: %s is unseen: %v, want %v", cluster, c, got, want)
				}
			}
		}
	}
}

// randomWorld makes workloads of some of the pods, and connections that are often allowed.
func randomWorld(g *random.Generator) world {
	objs := g.Objects()
	var objects []runtime.Object
	for _, n := range objs.Namespaces {
		objects = append(objects, n)
	}
	for _, p := range objs.Pods {
		if g.IntN(3) == 0 { // with others that may have other labels
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "set", Controller: new(true)}}
			p.Spec.HostNetwork = false
		}
		objects = append(objects, p)
	}
	w := world{dns: baseline.DNSTargets{Pods: []baseline.DNSPods{{
		Namespace: "b", Selector: map[string]string{"app": "x"}, Ports: baseline.DefaultDNS().Pods[0].Ports,
	}}}}
	w.policies = w.randomPolicies(g, objs.Policies)
	inv := inventory.New(objects)
	w.sample = inv.Sample()
	var ends []edge.Endpoint
	for _, o := range inv.Workloads() {
		ends = append(ends, o.Endpoint())
	}
	for _, addr := range addresses {
		ends = append(ends, edge.Endpoint{Addr: addr})
	}
	seen, s := map[string]bool{}, w.compile(w.policies)
	for range 120 {
		c := evidence.Connection{From: random.Pick(g, ends...), To: random.Pick(g, ends...)}
		c = random.Pick(g, someConnections(c)...)
		if !seen[c.String()] && (c.From.IsPod() || c.To.IsPod()) && (w.allAllow(s, c) || g.IntN(20) == 0) {
			seen[c.String()] = true
			w.connections = append(w.connections, c)
		}
	}
	return w
}

// randomPolicies are valid, and some namespaces have the baseline.
func (w world) randomPolicies(g *random.Generator, policies []*networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	known := map[string]bool{}
	policies = slices.DeleteFunc(policies, func(p *networkingv1.NetworkPolicy) bool {
		again := known[p.Namespace+"/"+p.Name]
		known[p.Namespace+"/"+p.Name] = true
		return again || len(p.Name) > 3 || len(netpol.Validate(p)) > 0
	})
	for _, namespace := range []string{"a", "c"} {
		if g.IntN(3) == 0 {
			policies = append(policies, baseline.DefaultDeny(namespace), baseline.DNS(namespace, w.dns))
		}
	}
	var objects []runtime.Object
	for _, p := range policies {
		objects = append(objects, p)
	}
	sorted, err := proof.Policies(objects)
	if err != nil {
		panic(err)
	}
	return sorted
}
