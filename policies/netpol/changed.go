// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// Changed lists the addresses that a peer of a rule, or a port called by its name, may match otherwise than in
// an older snapshot, sorted: pods and nodes that came, went or changed, and pods of namespaces with other
// labels. It may list some that are matched as before. The cost grows with the change where this snapshot was
// made from the older one by Apply, and with the cluster where it was not.
func (s *Snapshot) Changed(old *Snapshot) []netip.Addr {
	changed := make(map[netip.Addr]bool)
	for addr := range differing(&s.pods, &old.pods) {
		changed[addr] = true
	}
	for addr := range differing(&s.nodeAddrs, &old.nodeAddrs) {
		changed[addr] = true
	}
	for name := range differing(&s.namespaces, &old.namespaces) {
		now, before := s.namespaces.get(name), old.namespaces.get(name)
		if now == nil || before == nil || maps.Equal(now.labels, before.labels) {
			continue // its pods, if it came or went, did so too
		}
		for _, p := range now.pods {
			for _, addr := range p.addrs {
				changed[addr] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(changed), netip.Addr.Compare)
}

// differing are the keys of the shards that two dicts do not share; of all shards if they cut them otherwise.
func differing[K comparable, V any](a, b *dict[K, V]) iter.Seq[K] {
	return func(yield func(K) bool) {
		if len(a.shards) != len(b.shards) {
			for _, d := range []*dict[K, V]{a, b} {
				for k := range d.all() {
					if !yield(k) {
						return
					}
				}
			}
			return
		}
		for i := range a.shards {
			if reflect.ValueOf(a.shards[i]).Pointer() == reflect.ValueOf(b.shards[i]).Pointer() {
				continue
			}
			for _, shard := range []map[K]V{a.shards[i], b.shards[i]} {
				for k := range shard {
					if !yield(k) {
						return
					}
				}
			}
		}
	}
}

// Group is the same for endpoints of one snapshot that no selector tells apart: pods of a namespace that carry
// the same labels. Their addresses and the names of their ports may differ.
type Group struct {
	namespace *namespace
	class     int
}

// Group is the endpoint's; ok is false for what is not a pod.
func (e Endpoint) Group() (g Group, ok bool) {
	if e.pod == nil {
		return Group{}, false
	}
	return Group{e.namespace, e.pod.class}, true
}
