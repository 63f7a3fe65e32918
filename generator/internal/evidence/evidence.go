// SPDX-License-Identifier: Apache-2.0

// Package evidence decides what may be learned from observed edges, and what is only listed for a
// person to look at.
package evidence

import (
	"fmt"
	"iter"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// Reason says why an edge is listed and not learned.
type Reason string

// The reasons, in the order in which a reader should look at them.
const (
	Denied           Reason = "denied"            // it was dropped: somebody must decide
	DirectionUnknown Reason = "direction-unknown" // nobody saw who opened it
	NoWorkload       Reason = "no-workload"       // an end's workload is not in the inventory
	NoSelector       Reason = "no-selector"       // an end's pods have no lasting labels
	ServiceAddress   Reason = "service-address"   // the pods behind a Service's address cannot be told
	OwnNode          Reason = "own-node"          // from a pod's own node, which needs no rule
	NoPod            Reason = "no-pod"            // neither end is a pod: policies do not apply
)

// Listed is an edge that was not learned.
type Listed struct {
	Edge   edge.Edge `json:"edge"`
	Reason Reason    `json:"reason"`
	Detail string    `json:"detail"` // what a person can do
}

// Touches reports whether a pod of the namespace is at either end.
func (l Listed) Touches(namespace string) bool {
	return l.Edge.From.IsPod() && l.Edge.From.Namespace == namespace || l.Edge.To.IsPod() && l.Edge.To.Namespace == namespace
}

// Connection is what a policy has to allow: the edges of one connection, seen at either side.
type Connection struct {
	From, To edge.Endpoint
	Protocol corev1.Protocol
	Port     uint16 // the destination pod's
	// Audited: at least one flow would have been dropped by the policies in place, had they
	// been enforced.
	Audited bool
	// Evidence of both sides together.
	Evidence edge.Edge
}

// String is the connection in one phrase.
func (c Connection) String() string {
	return edge.Key{From: c.From, To: c.To, Protocol: c.Protocol, Port: c.Port}.String()
}

// Touches reports whether a pod of the namespace is at either end.
func (c Connection) Touches(namespace string) bool {
	return c.From.IsPod() && c.From.Namespace == namespace || c.To.IsPod() && c.To.Namespace == namespace
}

// Evidence is the sorted input of a run.
type Evidence struct {
	Connections []Connection // in the order of edge.Key.Compare
	Listed      []Listed     // the same order
}

// Sort decides for each edge. Forwarded and audited edges between known ends are learned; all
// others are listed.
func Sort(edges []edge.Edge, inv *inventory.Inventory) (Evidence, error) {
	settled, merged := edge.NewFold(len(edges)), edge.NewFold(len(edges))
	for _, e := range edges {
		if err := settled.Put(inv.Settle(e.Key), &e); err != nil {
			return Evidence{}, fmt.Errorf("sort edges: %w", err)
		}
	}
	var out Evidence
	audited := map[edge.Key]bool{}
	for _, e := range settled.Edges() {
		if reason, detail := judge(e, inv); reason != "" {
			out.Listed = append(out.Listed, Listed{e, reason, detail})
			continue
		}
		k := e.Key
		k.Side, k.Verdict = "", ""
		audited[k] = audited[k] || e.Verdict == flows.Audited
		if err := merged.Put(k, &e); err != nil {
			return Evidence{}, fmt.Errorf("sort edges: %w", err)
		}
	}
	for _, e := range merged.Edges() {
		out.Connections = append(out.Connections, Connection{e.From, e.To, e.Protocol, e.Port, audited[e.Key], e})
	}
	return out, nil
}

func judge(e edge.Edge, inv *inventory.Inventory) (Reason, string) {
	switch {
	case !e.From.IsPod() && !e.To.IsPod():
		return NoPod, "no policy applies"
	case e.Verdict == flows.Dropped:
		return Denied, "if it is wanted, allow it by hand in the workload's policy"
	case e.Side == flows.SideUnknown:
		return DirectionUnknown, "observe for longer: a new connection shows who opens it"
	case e.From.Entity == inventory.EntityHost && e.To.IsPod():
		return OwnNode, "a pod's own node always reaches it"
	case e.To.Entity == inventory.EntityService:
		return ServiceAddress, "observe after service translation, or give the Service one workload and a numbered port"
	}
	for _, end := range []edge.Endpoint{e.From, e.To} {
		if !end.IsPod() {
			continue
		}
		w := inv.Workload(end)
		if w == nil {
			return NoWorkload, fmt.Sprintf("%s is not in the inventory", end)
		}
		if w.Selector == nil {
			return NoSelector, fmt.Sprintf("give the pods of %s a label that outlives a rollout", end)
		}
	}
	return "", ""
}

// Namespaces are those with a pod at an end of a connection, ordered.
func (e *Evidence) Namespaces() []string {
	var names []string
	for end := range Ends(e.Connections) {
		if end.IsPod() {
			names = append(names, end.Namespace)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Ends yields both ends of each connection, repeated as they come.
func Ends(connections []Connection) iter.Seq[edge.Endpoint] {
	return func(yield func(edge.Endpoint) bool) {
		for _, c := range connections {
			if !yield(c.From) || !yield(c.To) {
				return
			}
		}
	}
}

// Span is the time between the first and the last flow of the connections; zero when there are none.
func Span(connections []Connection) (first, last time.Time) {
	for _, c := range connections {
		if first.IsZero() || c.Evidence.First.Before(first) {
			first = c.Evidence.First
		}
		if c.Evidence.Last.After(last) {
			last = c.Evidence.Last
		}
	}
	return first, last
}
