// SPDX-License-Identifier: Apache-2.0

// Package edge folds connection records into edges: who talks to whom, on which port.
//
// A Fold is a set union at heart. Adding is commutative, associative and idempotent, so the order
// of the flows, reading one twice, and splitting the work over shards cannot change the result.
package edge

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Endpoint is one end of an edge: a workload, a pod that no workload is known of, or an address.
type Endpoint struct {
	// Kind and Name of the workload, e.g. Deployment, api; Kind Pod for a bare pod. Empty: an address.
	Kind      string
	Namespace string
	Name      string
	// Addr is set only when the end is no pod.
	Addr netip.Addr
	// Entity is what the observer calls the address: world, host, remote-node, … Empty: not known.
	Entity string
}

// IsPod reports whether the end has a pod's identity, so that selectors can match it.
func (e Endpoint) IsPod() bool { return e.Kind != "" }

// String is the end in one phrase: "Deployment shop/api", "203.0.113.7", "host 10.0.0.1".
func (e Endpoint) String() string {
	switch {
	case e.IsPod():
		return e.Kind + " " + e.Namespace + "/" + e.Name
	case e.Entity == EntityOthers:
		return EntityOthers
	case e.Entity != "" && e.Entity != "world":
		return e.Entity + " " + e.Addr.String()
	}
	return e.Addr.String()
}

// Compare orders endpoints: pods by namespace, name and kind, then addresses.
func (e Endpoint) Compare(o Endpoint) int {
	if e.IsPod() != o.IsPod() {
		if e.IsPod() {
			return -1
		}
		return 1
	}
	if c := cmp.Compare(e.Namespace, o.Namespace); c != 0 { // one after the other: cmp.Or would compare all
		return c
	}
	if c := cmp.Compare(e.Name, o.Name); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(e.Kind, o.Kind), e.Addr.Compare(o.Addr), cmp.Compare(e.Entity, o.Entity))
}

// Key is what makes an edge: two observations with the same key are of the same edge.
type Key struct {
	From, To Endpoint
	Protocol corev1.Protocol
	// Port is the destination pod's; 0 when the direction is not known, because then it is not
	// known which of the two ports is the destination's.
	Port    uint16
	Side    flows.Side // where it was observed; SideUnknown: the direction is not known
	Verdict flows.Verdict
}

// Compare orders keys by source, destination, protocol, port, side and verdict.
func (k Key) Compare(o Key) int {
	if c := k.From.Compare(o.From); c != 0 {
		return c
	}
	if c := k.To.Compare(o.To); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Port, o.Port), cmp.Compare(k.Side, o.Side), cmp.Compare(k.Verdict, o.Verdict))
}

// String is the edge in one phrase: "Deployment shop/web → Deployment shop/api TCP/3000".
// The port is left out where it is not known.
func (k Key) String() string {
	if k.Port == 0 {
		return fmt.Sprintf("%s → %s %s", k.From, k.To, k.Protocol)
	}
	return fmt.Sprintf("%s → %s %s/%d", k.From, k.To, k.Protocol, k.Port)
}

// Observation is what one flow adds to its edge.
type Observation struct {
	ID   uint64 // the same for the same flow; uniformly distributed
	Time time.Time
	Node string   // empty: not known
	Name []string // DNS names of the destination; usually nil
}

// Evidence is what is known of an edge, or of several together. Adding to it is a set union.
type Evidence struct {
	Flows       Count
	Last, First time.Time // UTC
	Days        Days      // on which it was seen
	Nodes       Set       // that saw it
	Names       Set       // DNS names of the destination
}

// Edge is a key with the evidence for it.
type Edge struct {
	Key
	Evidence
}

// observe reports whether the observation says anything new.
func (e *Evidence) observe(o Observation) bool {
	changed := e.Flows.Add(o.ID)
	changed = e.span(o.Time, o.Time) || changed
	changed = e.Days.add(dayOf(o.Time)) || changed
	changed = e.Nodes.Add(bounded(o.Node)) || changed
	for _, n := range o.Name {
		changed = e.Names.Add(bounded(n)) || changed
	}
	return changed
}

func (e *Evidence) merge(o *Evidence) {
	e.Flows.Merge(&o.Flows)
	if !o.Last.IsZero() {
		e.span(o.First, o.Last)
	}
	e.Days.merge(o.Days)
	e.Nodes.merge(o.Nodes)
	e.Names.merge(o.Names)
}

func (e *Evidence) span(first, last time.Time) (changed bool) {
	if last.After(e.Last) {
		e.Last, changed = last, true
	}
	if e.First.IsZero() || first.Before(e.First) {
		e.First, changed = first, true
	}
	return changed
}

// At is the same evidence as of one moment: for flows that a wrong clock dated.
func (e Evidence) At(t time.Time) Evidence {
	e = e.clone()
	e.First, e.Last, e.Days = t, t, Days{}
	e.Days.add(dayOf(t))
	return e
}

func (e Evidence) clone() Evidence {
	e.Flows = e.Flows.clone()
	return e
}

// maxWord bounds every string of a key and of its evidence. No name in Kubernetes or DNS is longer, so
// what is cut off belongs to no real one.
const maxWord = 253

func bounded(word string) string {
	if len(word) > maxWord {
		return strings.Clone(word[:maxWord]) // so that the rest is not kept with it
	}
	return word
}

func (e *Endpoint) bound() {
	if max(len(e.Kind), len(e.Namespace), len(e.Name), len(e.Entity)) > maxWord {
		e.Kind, e.Namespace, e.Name, e.Entity = bounded(e.Kind), bounded(e.Namespace), bounded(e.Name), bounded(e.Entity)
	}
}
