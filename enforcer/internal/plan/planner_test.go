// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// add brings a complete world up to date with the next one, as the datapath does.
func (w *World) add(next *World) *World {
	if !next.Partial {
		return next
	}
	sum := *w
	sum.Endpoints = next.Endpoints
	sum.Identities, sum.Services = maps.Clone(w.Identities), maps.Clone(w.Services)
	for _, m := range []map[netip.Addr]Identity{next.Identities} {
		maps.Copy(sum.Identities, m)
	}
	for addr := range next.Services {
		if _, both := next.Identities[addr]; !both {
			delete(sum.Identities, addr)
		}
		sum.Services[addr] = struct{}{}
	}
	for addr := range next.Identities {
		if _, both := next.Services[addr]; !both {
			delete(sum.Services, addr)
		}
	}
	for _, addr := range next.Gone {
		delete(sum.Identities, addr)
		delete(sum.Services, addr)
	}
	sum.CIDRs, sum.Peers, sum.Ports = joined(w.CIDRs, next.CIDRs), joined(w.Peers, next.Peers), joined(w.Ports, next.Ports)
	if next.PortClasses != nil {
		sum.PortClasses = next.PortClasses
	}
	sum.Sets = append(slices.Clone(w.Sets), next.Sets...)
	sum.origins = append(slices.Clone(w.origins), next.origins...)
	return &sum
}

func joined[K comparable, V any](a, b map[K]V) map[K]V {
	sum := maps.Clone(a)
	maps.Copy(sum, b)
	return sum
}

// TestWorldsFollowOneAnother makes random changes of small clusters. After each, the tables with what is new say
// what the evaluator says; and with what is new, but with the endpoints as they were, they say what they said
// before: nothing that is in use changes its meaning before the endpoints are switched.
func TestWorldsFollowOneAnother(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd09::1")}
	ports := []uint16{1, 80, 81, 90, 8080}
	partial := 0
	for seed := range uint64(60) {
		g := &dice{rand.New(rand.NewPCG(seed, 4))}
		objs := g.cluster()
		snap, err := netpol.Compile(objs)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPlanner(uint32(seed))
		before, in := unplanned(fmt.Sprintf("seed %d", seed), snap)
		before.world = next(t, p, snap, in)
		for step := range 8 {
			if snap, err = snap.Apply(g.change()); err != nil {
				t.Fatal(err)
			}
			now, in := unplanned(fmt.Sprintf("seed %d step %d", seed, step), snap)
			w := next(t, p, snap, in)
			now.world = before.world.add(w)
			if w.Partial {
				partial++
				between := *before
				between.name = now.name + ", before the switch"
				between.world = new(World)
				*between.world = *now.world
				between.world.Endpoints = before.world.Endpoints
				compareUnchanged(t, &between, snap, addrs, ports)
			}
			compare(t, now, addrs, ports)
			before = now
		}
	}
	if partial < 300 {
		t.Errorf("only %d worlds were partial", partial)
	}
}

func next(t *testing.T, p *Planner, snap *netpol.Snapshot, in Input) *World {
	t.Helper()
	w, err := p.Next(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// compareUnchanged compares connections with addresses that the change to the snapshot is not about.
func compareUnchanged(t *testing.T, c *trial, snap *netpol.Snapshot, addrs []netip.Addr, ports []uint16) {
	t.Helper()
	changed := snap.Changed(c.snap)
	for _, e := range c.pods {
		addrs = append(addrs, e.Addr)
	}
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(changed, a) })
	for ifindex := range c.pods {
		for _, addr := range addrs {
			for _, port := range ports {
				c.comparePair(t, ifindex, addr, corev1.ProtocolTCP, port)
				c.comparePair(t, ifindex, addr, corev1.ProtocolUDP, port)
			}
		}
	}
}

// change draws objects that are new, others or gone.
func (g *dice) change() (c netpol.Change) {
	fresh := g.cluster()
	switch g.IntN(5) {
	case 0:
		c.Set.Pods = fresh.Pods[:1+g.IntN(3)]
	case 1:
		c.Set.Policies = fresh.Policies
	case 2:
		c.Set.ClusterPolicies = fresh.ClusterPolicies[:1+g.IntN(2)]
	case 3:
		c.Set.Nodes = fresh.Nodes[:1]
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"zone": pick(g, "x", "y")}}}
		c.Set.Namespaces = []*corev1.Namespace{ns}
	default:
		c.Deleted = []netpol.Key{
			{Kind: "Pod", Namespace: "a", Name: pick(g, "p0", "p1")},
			{Kind: "NetworkPolicy", Namespace: "a", Name: "np0"},
			{Kind: "ClusterNetworkPolicy", Name: pick(g, "cnp0", "cnp3")},
		}
	}
	return c
}

// A change that is about little makes a world that has little in it.
func TestSmallChangesAreSmallWorlds(t *testing.T) {
	snap, in := crowd(t, 2000, 200)
	p := new(Planner)
	if w := next(t, p, snap, in); w.Partial || len(w.Identities) != 2000 || w.PortClasses == nil {
		t.Fatalf("the first world is partial: %v, with %d identities", w.Partial, len(w.Identities))
	}
	moved := pod("pod-7", map[string]string{"app": "client"}, "10.1.0.7")
	change := func(c netpol.Change) *World {
		var err error
		if snap, err = snap.Apply(c); err != nil {
			t.Fatal(err)
		}
		return next(t, p, snap, in)
	}
	if w := change(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{moved}}}); !w.Partial || len(w.Identities) != 1 || w.PortClasses != nil || len(w.Peers) != 100 {
		t.Errorf("one pod changed: partial %v, %d identities, %d peers; want one, and a row for each set that allows it", w.Partial, len(w.Identities), len(w.Peers))
	}
	w := change(netpol.Change{Set: netpol.Objects{Policies: rulesFor("app-1", 2)}})
	if len(w.Sets) != 1 || len(w.Identities) > 0 || len(w.Peers) > 10 {
		t.Errorf("one policy changed: %d sets, %d identities, %d peers; want one set and little else", len(w.Sets), len(w.Identities), len(w.Peers))
	}
	if w := next(t, p, snap, in); len(w.Sets)+len(w.Identities)+len(w.Gone)+len(w.Peers)+len(w.Ports)+len(w.CIDRs) > 0 || w.PortClasses != nil {
		t.Errorf("nothing changed, and the world is %d sets, %d identities", len(w.Sets), len(w.Identities))
	}
}

// Numbers are not used for ever: now and then a world is complete.
func TestPlannerTidiesUp(t *testing.T) {
	snap, in := crowd(t, 200, 100)
	p := NewPlanner(5)
	next(t, p, snap, in)
	last, complete := uint32(0), 0
	for range 600 {
		var err error
		if snap, err = snap.Apply(netpol.Change{Set: netpol.Objects{Policies: rulesFor("app-1", 2)}}); err != nil {
			t.Fatal(err)
		}
		w := next(t, p, snap, in)
		if w.FirstSet < last {
			t.Fatalf("set %d is numbered again", w.FirstSet)
		}
		last = w.FirstSet + uint32(len(w.Sets))
		if !w.Partial {
			complete++
		}
	}
	if complete == 0 || complete > 10 {
		t.Errorf("%d of 600 worlds were complete", complete)
	}
	p.Forget()
	if w := next(t, p, snap, in); w.Partial || w.FirstSet < last {
		t.Errorf("after a world that was not loaded: partial %v from set %d; want a complete one from %d", w.Partial, w.FirstSet, last)
	}
}

// crowd is a cluster of pods of 100 applications, of which the first 100 are local; each has a policy.
func crowd(tb testing.TB, pods, local int) (*netpol.Snapshot, Input) {
	tb.Helper()
	var objs netpol.Objects
	var in Input
	for i := range 100 {
		objs.Policies = append(objs.Policies, allowFrom(fmt.Sprintf("app-%d", i), 3))
	}
	for i := range pods {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		objs.Pods = append(objs.Pods, pod(fmt.Sprintf("pod-%d", i), map[string]string{"app": fmt.Sprintf("app-%d", i%100)}, addr.String()))
		if i < local {
			in.Endpoints = append(in.Endpoints, EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("pod-%d", i)}, Ifindex: uint32(i + 1)})
		}
	}
	snap, err := netpol.Compile(objs)
	if err != nil {
		tb.Fatal(err)
	}
	return snap, in
}

// BenchmarkNext measures what one change costs among 10,000 pods.
func BenchmarkNext(b *testing.B) {
	snap, in := crowd(b, 10_000, 100)
	moved := []*corev1.Pod{pod("pod-7000", map[string]string{"app": "app-8"}, "10.1.27.88")}
	for name, c := range map[string]netpol.Change{
		"pod":    {Set: netpol.Objects{Pods: moved}},
		"policy": {Set: netpol.Objects{Policies: rulesFor("app-1", 2)}},
	} {
		b.Run(name, func(b *testing.B) {
			p := new(Planner)
			if _, err := p.Next(snap, in); err != nil {
				b.Fatal(err)
			}
			s := snap
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if s, err = s.Apply(c); err != nil {
					b.Fatal(err)
				}
				if _, err = p.Next(s, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What only the node knows comes and goes with no change of any object.
func TestNodesKnowledgeChanges(t *testing.T) {
	snap, in := crowd(t, 3, 1)
	own, service := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.96.0.1")
	with := in
	with.NodeAddrs, with.ServiceAddrs = []netip.Addr{own}, []netip.Addr{service}
	with.Endpoints = slices.Clone(in.Endpoints)
	with.Endpoints[0].Addrs = []netip.Addr{netip.MustParseAddr("10.7.7.7")}
	moved := netip.MustParseAddr("10.7.7.7")
	p := new(Planner)
	next(t, p, snap, in)
	w := next(t, p, snap, with)
	if _, isService := w.Services[service]; !w.Identities[own].Node || !isService || w.Identities[moved].Ifindex != 1 || w.Identities[netip.MustParseAddr("10.1.0.0")].Ifindex != 0 {
		t.Errorf("with addresses of the node's own: %+v, services %v", w.Identities, w.Services)
	}
	w = next(t, p, snap, in)
	slices.SortFunc(w.Gone, netip.Addr.Compare)
	if want := []netip.Addr{moved, own, service}; !slices.Equal(w.Gone, want) || w.Identities[netip.MustParseAddr("10.1.0.0")].Ifindex != 1 {
		t.Errorf("without them: gone %v, want %v; %+v", w.Gone, want, w.Identities)
	}
}
