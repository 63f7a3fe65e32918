// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"maps"
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// numbered are the rows of set 0 for another set.
func numbered[K plan.PeerKey | plan.PortKey](rows map[K]plan.Bitmap, set uint32) map[K]plan.Bitmap {
	moved := make(map[K]plan.Bitmap, len(rows))
	for key, bits := range rows {
		switch k := any(&key).(type) {
		case *plan.PeerKey:
			k.Set = set
		case *plan.PortKey:
			k.Set = set
		}
		moved[key] = bits
	}
	return moved
}

// partial puts the pod under set 1, which is the test world's set 0 but for friends: it knows none.
func partial() *plan.World {
	full := newWorld(plan.Enforce)
	peers := numbered(full.Peers, 1)
	maps.DeleteFunc(peers, func(k plan.PeerKey, _ plan.Bitmap) bool { return k.Class == friends })
	w := &plan.World{Partial: true, FirstSet: 1, Sets: full.Sets, Peers: peers, Ports: numbered(full.Ports, 1), Endpoints: full.Endpoints}
	for ifindex, ep := range w.Endpoints {
		ep.Set = 1
		w.Endpoints[ifindex] = ep
	}
	return w
}

func TestPartialWorlds(t *testing.T) {
	d := newDataplane(t)
	toFriend := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn))
	onward := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, ack))
	toStranger := ipPacket(v4.pod, v4.stranger, tcp, tcpSegment(1, tlsPort, syn))
	toInternet := ipPacket(v4.pod, v4.internet, tcp, tcpSegment(1, 7, syn))
	if _, err := d.Load(partial()); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("a partial world before any other: %v", err)
	}
	first := load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{{fromPod, toFriend, pass}, {fromPod, onward, pass}, {fromPod, toStranger, drop}})

	// Who the addresses are may change with nothing else.
	stranger, friend := netip.MustParseAddr(v4.stranger), netip.MustParseAddr(v4.friend)
	second := load(t, d, &plan.World{
		Partial: true, FirstSet: 1, Endpoints: newWorld(plan.Enforce).Endpoints,
		Identities: map[netip.Addr]plan.Identity{stranger: {Class: friends}}, Gone: []netip.Addr{friend},
	})
	if second != first+2 {
		t.Errorf("generation %d after %d, want the same slot", second, first)
	}
	d.play(t, []step{{fromPod, toStranger, pass}, {fromPod, onward, drop}, {fromPod, toInternet, pass}})

	// A new set revokes what the old one allowed, at once.
	load(t, d, partial())
	d.play(t, []step{{fromPod, toStranger, drop}, {fromPod, toInternet, pass}})
	if next, err := d.NextSet(); err != nil || next != 2 {
		t.Errorf("the next set is %d, %v; want 2", next, err)
	}
	// A complete world begins anew.
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{{fromPod, toFriend, pass}, {fromPod, toStranger, drop}})
}

// What has no room is refused before anything is written.
func TestPartialWorldsThatDoNotFit(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	w := partial()
	w.Peers = map[plan.PeerKey]plan.Bitmap{}
	for class := range uint32(kinds[1].min + 1) {
		w.Peers[plan.PeerKey{Set: 1, Class: class}] = plan.Bitmap{}
	}
	if _, err := d.Load(w); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("more rows than there is room for: %v", err)
	}
	var set bpf.DatapathPolicySet
	if err := d.bank.maps[0].Lookup(uint32(1), &set); err == nil {
		t.Error("the set was added all the same")
	}
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn)), pass}})
	w.Endpoints[1] = plan.Endpoint{Set: 9}
	w.Peers = nil
	if _, err := d.Load(w); err == nil {
		t.Error("an endpoint of a set that there is not was loaded")
	}
}

// Endpoints of worlds before do not fill the map.
func TestOldEndpointsAreForgotten(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	unchanged := &plan.World{Partial: true, FirstSet: 1, Endpoints: newWorld(plan.Enforce).Endpoints}
	var last uint32
	for range 50 {
		last = load(t, d, unchanged)
	}
	d.sweeping.Wait()
	var key bpf.DatapathEndpointKey
	var value bpf.DatapathEndpoint
	count := 0
	for all := d.objs.Endpoints.Iterate(); all.Next(&key, &value); count++ {
		if key.Generation != uint64(last) {
			t.Errorf("an endpoint of generation %d is left, %d is in force", key.Generation, last)
		}
	}
	if count != len(unchanged.Endpoints) {
		t.Errorf("%d endpoints, want %d", count, len(unchanged.Endpoints))
	}
}

// While partial worlds follow one another, every packet is judged by one of them.
func TestPartialExchangeUnderTraffic(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	load(t, d, partial())
	worlds := []*plan.World{
		{Partial: true, FirstSet: 2, Endpoints: partial().Endpoints},
		{Partial: true, FirstSet: 2, Endpoints: newWorld(plan.Enforce).Endpoints},
	}
	var exchange repeater
	exchange.start(func(i int) error { _, err := d.Load(worlds[i%2]); return err })
	toFriend := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn|fin))
	toInternet := ipPacket(v4.pod, v4.internet, tcp, tcpSegment(1, 7, syn|fin))
	toStranger := ipPacket(v4.pod, v4.stranger, tcp, tcpSegment(1, tlsPort, syn|fin))
	seen := map[bool]bool{}
	for exchange.calls.Load() < 200 || len(seen) < 2 && exchange.calls.Load() < 1_000_000 {
		seen[d.run(t, fromPod, toFriend)] = true
		if !d.run(t, fromPod, toInternet) || d.run(t, fromPod, toStranger) {
			t.Fatal("judged by neither world")
		}
	}
	exchange.halt(t)
	if len(seen) < 2 {
		t.Error("only one of the two worlds was met")
	}
}

// BenchmarkLoadPartial measures a change of one policy from World to enforced, with the large world.
func BenchmarkLoadPartial(b *testing.B) {
	d := newDataplane(b)
	load(b, d, largeWorld())
	w := partial()
	w.Endpoints = maps.Clone(w.Endpoints)
	for i := range uint32(100) {
		w.Endpoints[i] = plan.Endpoint{Set: 1}
	}
	for b.Loop() {
		// Numbers of sets are not used again; here they are, so that the maps do not fill.
		load(b, d, w)
		for i := range d.bank.maps[:3] {
			d.bank.maps[i].used = 0
		}
	}
}
