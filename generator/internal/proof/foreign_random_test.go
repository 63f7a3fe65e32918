// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// TestForeignAgreesWithOracle takes each of random policies for one that is not in Git, and compares what it is said to do
// with what all of them together allow, compiled at once.
func TestForeignAgreesWithOracle(t *testing.T) {
	var some struct{ none, opened, addresses, blocked int }
	for i := range uint64(clusters) {
		w := randomWorld(random.New(11, i))
		for k, p := range w.policies {
			rest := w
			rest.policies = slices.Delete(slices.Clone(w.policies), k, k+1)
			if isBaseline(p) || len(rest.policies) == 0 || rest.governsOne() {
				continue
			}
			r := rest.prove(t)
			if err := r.Meet(inventory.New([]runtime.Object{p}), nil, rest.policies, w.connections, w.sample, w.dns); err != nil {
				t.Fatal(err)
			}
			var blocked, want []string
			for _, b := range r.Blocked {
				blocked = append(blocked, b.Connection)
			}
			if want = rest.blocked(w); !slices.Equal(blocked, want) {
				t.Fatalf("cluster %d: %s/%s blocks %q, want %q", i, p.Namespace, p.Name, blocked, want)
			}
			some.blocked += len(blocked)
			if !rest.concerns(edge.Endpoint{Kind: "Pod", Namespace: p.Namespace}) {
				if len(r.Foreign) > 0 {
					t.Fatalf("cluster %d: %+v is of no namespace that is judged", i, r.Foreign)
				}
				continue
			}
			count, pairs, outside := rest.opened(w, p)
			if f := r.Foreign[0]; f.Count != count || f.Pairs != pairs || len(f.Examples) != min(count, 10) {
				t.Fatalf("cluster %d: %s/%s opens %d of %d pairs (%+v), want %d of %d", i, p.Namespace, p.Name, f.Count, f.Pairs, f.Examples, count, pairs)
			}
			some.opened, some.addresses = some.opened+pairs, some.addresses+outside
			if pairs == 0 {
				some.none++
			}
		}
	}
	t.Logf("%+v", some)
	for _, n := range []int{some.none, some.opened, some.addresses, some.blocked} {
		if n < clusters/6 {
			t.Errorf("too little happened for a comparison: %+v", some)
		}
	}
}

// governsOne says whether some namespace's policies govern one direction only.
func (w world) governsOne() bool {
	by := map[string][]*networkingv1.NetworkPolicy{}
	for _, p := range w.policies {
		by[p.Namespace] = append(by[p.Namespace], p)
	}
	for _, of := range by {
		if len(baseline.Governed(of).Words()) == 1 {
			return true
		}
	}
	return false
}

// blocked are the connections that w allows and all do not.
func (w world) blocked(all world) (names []string) {
	before, after := w.compile(w.policies), w.compile(all.policies)
	for _, c := range w.connections {
		if (w.concerns(c.From) || w.concerns(c.To)) && w.allAllow(before, c) && !w.allAllow(after, c) {
			names = append(names, c.String())
		}
	}
	return names
}

// opened counts the ranges of ports that all policies allow, that w's do not, and that were not seen, where something
// isolates an end; between how many ends that is, and how many of them have an address that p names.
func (w world) opened(all world, p *networkingv1.NetworkPolicy) (count, pairs, outside int) {
	before, after := w.compile(w.withoutBaseline()), w.compile(all.withoutBaseline())
	alone := w.compile([]*networkingv1.NetworkPolicy{p})
	ends := w.sample.Workloads()
	for _, addr := range addresses {
		ends = append(ends, edge.Endpoint{Addr: addr})
	}
	for _, from := range ends {
		for _, to := range ends {
			if !from.IsPod() && !to.IsPod() {
				continue
			}
			ranges := len(w.between(before, after, alone, from, to).Ranges())
			if ranges == 0 {
				continue
			}
			count, pairs = count+ranges, pairs+1
			if !from.IsPod() || !to.IsPod() {
				outside++
			}
		}
	}
	return count, pairs, outside
}

func (w world) between(before, after, alone *netpol.Snapshot, from, to edge.Endpoint) netpol.PortSet {
	var already, more netpol.PortSet
	stands, _ := w.sample.Pairs(from, to)
	for _, s := range stands {
		out, in := before.RuleSet(s[0].Pod, netpol.Egress), before.RuleSet(s[1].Pod, netpol.Ingress)
		if !to.IsPod() && !out.Isolated || !from.IsPod() && !in.Isolated {
			return netpol.PortSet{} // open for some
		}
		if !out.Isolated && !in.Isolated {
			continue
		}
		ends := func(s *netpol.Snapshot, p netpol.Peer) netpol.Endpoint {
			if p.Pod.Name == "" {
				return s.EndpointAt(p.Addr)
			}
			return s.Endpoint(p.Pod)
		}
		already = already.Union(before.Allowed(ends(before, s[0]), ends(before, s[1])))
		if !to.IsPod() && !names(alone.RuleSet(s[0].Pod, netpol.Egress), to.Addr) || !from.IsPod() && !names(alone.RuleSet(s[1].Pod, netpol.Ingress), from.Addr) {
			continue
		}
		more = more.Union(after.Allowed(ends(after, s[0]), ends(after, s[1])))
	}
	var seen []netpol.PortRange
	for _, c := range w.connections {
		if c.From == from && c.To == to {
			seen = append(seen, netpol.PortRange{Protocol: c.Protocol, From: c.Port, To: c.Port})
		}
	}
	return more.Subtract(already).Subtract(netpol.Ports(seen...))
}
