// SPDX-License-Identifier: Apache-2.0

package names_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

func told(name, addr string, ttl time.Duration) names.Answer {
	return names.Answer{Name: name, Addrs: []netip.Addr{netip.MustParseAddr(addr)}, TTL: ttl}
}

func wantNames(t *testing.T, c *names.Cache, pod uint32, addr string, when time.Time, want ...string) {
	t.Helper()
	if got := c.Names(pod, netip.MustParseAddr(addr), when); !slices.Equal(got, want) {
		t.Errorf("%s of pod %d after %s: %q, want %q", addr, pod, when.Sub(start), got, want)
	}
}

func wantCounts(t *testing.T, c *names.Cache, held int, evicted uint64) {
	t.Helper()
	if h, e := c.Counts(); h != held || e != evicted {
		t.Errorf("%d held, %d evicted, want %d and %d", h, e, held, evicted)
	}
}

// A name lasts as long as was said, but at least a minute and at most an hour, and is the asking pod's alone.
func TestNamesEnd(t *testing.T) {
	var c names.Cache
	c.Add(1, told("short.test", "192.0.2.1", 0), start)
	c.Add(1, told("long.test", "192.0.2.1", 24*time.Hour), start)
	c.Add(1, told("some.test", "192.0.2.1", 5*time.Minute), start)
	wantNames(t, &c, 1, "192.0.2.1", after(59*time.Second), "long.test", "short.test", "some.test")
	wantNames(t, &c, 1, "192.0.2.1", after(time.Minute), "long.test", "some.test")
	wantNames(t, &c, 1, "192.0.2.1", after(5*time.Minute), "long.test")
	wantNames(t, &c, 1, "192.0.2.1", after(time.Hour))
	wantNames(t, &c, 1, "192.0.2.2", start)
	wantNames(t, &c, 2, "192.0.2.1", start)
	c.Add(1, told("short.test", "192.0.2.1", time.Minute), after(30*time.Second))
	c.Add(1, told("some.test", "192.0.2.1", 0), after(30*time.Second)) // shortens nothing
	wantNames(t, &c, 1, "192.0.2.1", after(89*time.Second), "long.test", "short.test", "some.test")
	wantCounts(t, &c, 3, 0)
	c.Tidy(after(90 * time.Second))
	wantCounts(t, &c, 2, 0)
	c.Tidy(after(2 * time.Hour))
	wantCounts(t, &c, 0, 0)
}

// A pod that is gone keeps its names for what is recorded late, and leaves nothing to whoever has its number next.
func TestPodsGo(t *testing.T) {
	var c names.Cache
	c.Add(1, told("old.test", "192.0.2.1", time.Hour), start)
	c.Gone(1, after(10*time.Second))
	c.Gone(2, start)
	wantNames(t, &c, 1, "192.0.2.1", after(9*time.Second), "old.test")
	wantNames(t, &c, 1, "192.0.2.1", after(11*time.Second))
	c.Gone(1, after(20*time.Second)) // it was gone before
	wantNames(t, &c, 1, "192.0.2.1", after(11*time.Second))
	c.Add(1, told("new.test", "192.0.2.1", time.Hour), after(30*time.Second))
	wantNames(t, &c, 1, "192.0.2.1", after(31*time.Second), "new.test")
	c.Gone(1, after(40*time.Second))
	c.Tidy(after(39 * time.Second))
	wantCounts(t, &c, 1, 0)
	c.Tidy(after(41 * time.Second))
	wantCounts(t, &c, 0, 0)
}

func address(i int) string { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).String() }

func TestAddressHasFewNames(t *testing.T) {
	var c names.Cache
	for i := range 10 {
		c.Add(1, told(fmt.Sprintf("n%d.test", i), "192.0.2.1", time.Duration(20-i)*time.Minute), start)
	}
	wantNames(t, &c, 1, "192.0.2.1", start, "n0.test", "n1.test", "n2.test", "n3.test", "n4.test", "n5.test", "n6.test", "n9.test")
	wantCounts(t, &c, 8, 2)
}

// Those that end first make room; what has ended already is no loss.
func TestPodHasFewNames(t *testing.T) {
	var c names.Cache
	for i := range 512 {
		c.Add(1, told("a.test", address(i), time.Duration(i)*time.Minute), start)
	}
	wantCounts(t, &c, 512, 0)
	c.Add(1, told("a.test", address(600), time.Hour), start)
	wantCounts(t, &c, 512, 1)
	wantNames(t, &c, 1, address(0), start)
	wantNames(t, &c, 1, address(1), start, "a.test")
	c.Add(1, told("a.test", address(601), time.Hour), after(time.Minute))
	wantCounts(t, &c, 512, 1)
}

// A pod with many names costs no other one any.
func TestPodWithTheMostMakesRoom(t *testing.T) {
	var c names.Cache
	c.Add(1, told("quiet.test", "192.0.2.1", 0), start)
	for pod := range uint32(20) {
		for i := range 500 {
			c.Add(2+pod, told("a.test", address(i), time.Hour), start)
		}
	}
	wantCounts(t, &c, names.MaxNode, 20*500+1-names.MaxNode)
	wantNames(t, &c, 1, "192.0.2.1", start, "quiet.test")
	for pod := range uint32(20) {
		have := 0
		for i := range 500 {
			have += len(c.Names(2+pod, netip.MustParseAddr(address(i)), start))
		}
		if have < names.MaxNode/20-2 {
			t.Errorf("pod %d has %d names left", 2+pod, have)
		}
	}
}
