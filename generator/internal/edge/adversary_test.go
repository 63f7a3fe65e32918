// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// adversary adds edges that somebody makes up, beside some that are real.
type adversary struct {
	*edge.Fold
	flows uint64
}

func newAdversary() *adversary {
	a := &adversary{Fold: edge.NewSample(edge.DefaultLimits)}
	a.Track()
	a.add(tcp(pod("web"), pod("api"), 80))
	a.add(tcp(pod("web"), world(1<<20), 443))
	return a
}

func (a *adversary) add(k edge.Key, names ...string) {
	a.flows++
	_ = a.Add(k, edge.Observation{ID: xxhash.Sum64String(fmt.Sprint(a.flows)), Time: start, Node: "n", Name: names})
}

// keeps checks that the real edges are there, as are at most so many others, and that at least so
// many are counted as left out.
func (a *adversary) keeps(t *testing.T, most int, left float64) {
	t.Helper()
	found, counted := 0, 0.0
	edges := a.Edges()
	for _, e := range edges {
		if e.From == pod("web") {
			found++
		}
	}
	overflows := a.Overflows()
	for _, o := range overflows {
		n, _ := o.Edges.Value()
		counted += float64(n)
	}
	if found != 2 || len(edges) > most+2 || counted < 0.8*left || counted > 1.2*left {
		t.Errorf("%d of 2 real edges and %d of %d others are there; %.0f are counted as left out, want about %.0f", found, len(edges)-found, most, counted, left)
	}
	if len(overflows) > 10_000 {
		t.Errorf("%d overflows", len(overflows))
	}
}

// TestSourcePorts: a million source ports make no edge at all where the direction is known, nor where not.
func TestSourcePorts(t *testing.T) {
	a := newAdversary()
	unknown := edge.Key{From: pod("scanner"), To: pod("api"), Protocol: "TCP", Verdict: flows.Dropped}
	for range 500_000 { // the ports are not in the key: the ID, a hash of all of the flow, is what differs
		a.add(tcp(pod("scanner"), pod("api"), 80))
		a.add(unknown)
	}
	a.keeps(t, 2, 0)
	for _, e := range a.Edges() {
		if n, _ := e.Flows.Value(); e.From.Name == "scanner" && !near(n, 500_000, 0.2) {
			t.Errorf("%s: %d flows", e.Key, n)
		}
	}
}

func TestExternalAddresses(t *testing.T) {
	a := newAdversary()
	for n := range 100_000 {
		a.add(tcp(world(n), pod("shop"), 443))
		a.add(tcp(pod("crawler"), world(n), uint16(443+n%2)))
	}
	limit := edge.DefaultLimits.Group
	a.keeps(t, 3*limit, float64(200_000-3*limit))
	var got []string
	for _, o := range a.Overflows() {
		n, estimated := o.Edges.Value()
		total := 100_000
		if o.From.IsPod() {
			total /= 2
		}
		if !near(n, total-limit, 0.2) || !estimated || o.Days.Len() != 1 {
			t.Errorf("%s: %d addresses left out", o.Key, n)
		}
		got = append(got, o.String(), o.Edge().String())
	}
	want := []string{
		"Deployment shop/crawler → other addresses TCP/443", "Deployment shop/crawler → others TCP/443",
		"Deployment shop/crawler → other addresses TCP/444", "Deployment shop/crawler → others TCP/444",
		"other addresses → Deployment shop/shop TCP/443", "others → Deployment shop/shop TCP/443",
	}
	if !slices.Equal(got, want) {
		t.Errorf("overflows %q, want %q", got, want)
	}
}

// TestEverythingElseThatCanBeChosen: ports scanned at addresses and pods, names of pods and of
// workloads, names of DNS, and words without an end. What is in memory is measured.
func TestEverythingElseThatCanBeChosen(t *testing.T) {
	t.Run("ports at addresses", func(t *testing.T) {
		a := newAdversary()
		for n := range 200_000 {
			a.add(tcp(pod("scanner"), world(n%10), uint16(n/10)))
		}
		a.keeps(t, edge.DefaultLimits.Scope, 200_000-float64(edge.DefaultLimits.Scope))
	})
	t.Run("ports at pods", func(t *testing.T) {
		a := newAdversary()
		for n := range 300_000 {
			a.add(tcp(pod("scanner"), pod(fmt.Sprint("target", n%6)), uint16(n/6)))
		}
		a.keeps(t, edge.DefaultLimits.Scope, 300_000-float64(edge.DefaultLimits.Scope))
	})
	t.Run("names of pods", func(t *testing.T) {
		a := newAdversary()
		for n := range 100_000 {
			run := edge.Endpoint{Kind: "Pod", Namespace: "ci", Name: fmt.Sprint("run-", n)}
			a.add(tcp(run, pod("api"), 80))
			a.add(tcp(run, world(n), 443))
		}
		a.keeps(t, 2*edge.DefaultLimits.Group, 200_000-2*float64(edge.DefaultLimits.Group))
	})
	t.Run("names of workloads", func(t *testing.T) {
		a := newAdversary()
		limits := edge.Limits{Internal: 5000, External: 5000}
		a.Fold = edge.NewSample(limits)
		for n := range 100_000 {
			a.add(tcp(pod(fmt.Sprint("made-up-", n)), pod("api"), 80))
		}
		records, members, ends, overflows := a.Sizes()
		if records > 5*limits.Internal/4 || members > 2*limits.Internal || ends > 2*limits.Internal || overflows > 16_384 {
			t.Errorf("%d records, %d members, %d ends, %d overflows", records, members, ends, overflows)
		}
		left := 0
		for _, o := range a.Overflows() {
			n, _ := o.Edges.Value()
			left += int(n)
		}
		if !near(uint64(left), 95_000, 0.2) {
			t.Errorf("%d are counted as left out", left)
		}
	})
	t.Run("names and words", func(t *testing.T) {
		a := newAdversary()
		long := strings.Repeat("x", 1<<20)
		for n := range 1000 {
			a.add(tcp(pod("web2"), world(0), 443), fmt.Sprint(n, long))
		}
		a.add(tcp(pod(long), pod("api"), 80), long)
		for _, e := range a.Edges() {
			if len(e.Names) > 16 || len(e.From.Name) > 253 || len(strings.Join(e.Names, "")) > 16*253 {
				t.Errorf("%.40s… has %d names", e.Key, len(e.Names))
			}
		}
	})
}

// TestMemory: 100,000 edges of 5,000 workloads with as many flows as make the largest counts, seen by three
// nodes on thirty days, as the service holds them.
func TestMemory(t *testing.T) {
	keys := talk(5000, 100_000)
	before := heap()
	f := edge.NewSample(edge.DefaultLimits)
	f.Track()
	for i, k := range keys {
		if i%4 == 0 { // a quarter is external
			keys[i].To = edge.Endpoint{Addr: netip.AddrFrom4([4]byte{198, byte(i >> 18), byte(i >> 10), byte(i >> 2)}), Entity: "world"}
			k = keys[i]
		}
		for n := range uint64(40) {
			_ = f.Add(k, edge.Observation{ID: uint64(i)<<8 | n, Time: start.Add(day * 30 / 40), Node: nodes[n%3]})
		}
	}
	used := heap() - before
	runtime.KeepAlive(keys)
	t.Logf("%d edges take %d MB, %d bytes each", f.Len(), used>>20, used/uint64(f.Len()))
	if f.Len() != len(keys) || used > 85<<20 {
		t.Errorf("%d edges take %d MB", f.Len(), used>>20)
	}
	runtime.KeepAlive(f)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
