// SPDX-License-Identifier: Apache-2.0

package edge

import "github.com/cespare/xxhash/v2"

// Limits bound the edges of a Fold. Beyond a limit those edges stay whose keys have the smallest
// hashes. So which ones stay depends on the set of edges alone, not on their order, and a new edge needs
// luck to push out an old one. The evidence of the others goes to an Overflow.
//
// Zero means without a limit, everywhere.
type Limits struct {
	// Internal bounds the edges between pods, External all others, so that addresses of the world never
	// push out what pods say to each other.
	Internal, External int
	// Scope bounds the edges of one workload to pods, of one to addresses, and of one from addresses, so
	// that a workload that scans, or is scanned, pushes out its own edges before those of others.
	Scope int
	// Group bounds the edges of a scope that differ only in what whoever opens connections can choose: the
	// address; between pods, the port; the name of a pod, Job or ReplicaSet that no owner is known of.
	Group int
}

// DefaultLimits are of a cluster that takes 200 MB at the most.
var DefaultLimits = Limits{Internal: 150_000, External: 50_000, Scope: 16_384, Group: 4096}

// anyPod stands for all pods in the key of a scope. It is no endpoint of an edge: these have names.
var anyPod = Endpoint{Kind: "*"}

func (k Key) internal() bool { return k.From.IsPod() && k.To.IsPod() }

// group is the key without what Limits.Group speaks of. It is the key of the group's Overflow.
func (k Key) group() Key {
	k.From, k.To = k.From.group(), k.To.group()
	if k.internal() {
		k.Port = 0
	}
	return k
}

func (e Endpoint) group() Endpoint {
	if !e.IsPod() {
		return Endpoint{Entity: e.Entity}
	}
	switch e.Kind {
	case "Pod", "Job", "ReplicaSet": // each has as many names as it likes
		e.Name = ""
	}
	return e
}

// scope is the key of the scope that a group is in: that of any group with these ends.
func (group Key) scope() Key {
	k := Key{From: group.From, To: group.To}
	if group.internal() {
		k.To = anyPod
	}
	k.From.Entity, k.To.Entity = "", ""
	return k
}

// hash decides which edges stay. It is the same in every process.
func (k Key) hash() uint64 {
	var buffer [256]byte
	return xxhash.Sum64(AppendKey(buffer[:0], k))
}
