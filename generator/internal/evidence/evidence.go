// SPDX-License-Identifier: Apache-2.0

// Package evidence decides what may be learned from observed edges, and what is only listed for a
// person to look at.
package evidence

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
)

// Reason says why an edge is listed and not learned.
type Reason string

// The reasons, in the order in which a reader should look at them. A plan decides about the first of them, up to
// NewPeer; nothing can be learned of the others.
const (
	Denied           Reason = "denied"            // it was dropped: somebody must decide
	Scan             Reason = "scan"              // one of many ports or targets that were tried and hardly used
	OneOff           Reason = "one-off"           // it was hardly seen
	Outside          Reason = "outside"           // from outside of the cluster, to what no Service publishes
	NewPeer          Reason = "new-peer"          // from a namespace that had no approved connection before
	Rejected         Reason = "rejected"          // the plan says no
	DirectionUnknown Reason = "direction-unknown" // nobody saw who opened it
	NoWorkload       Reason = "no-workload"       // an end's workload is not in the inventory
	NoSelector       Reason = "no-selector"       // an end's pods have no lasting labels
	ServiceAddress   Reason = "service-address"   // the pods behind a Service's address cannot be told
	TooMany          Reason = "too-many"          // there are too many of a kind to keep each
	LeftOut          Reason = "left-out"          // the source of the flow left an address or the port out
	PodAddress       Reason = "pod-address"       // pods had the address, and it cannot be told which one then
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
	// Accepted is the decision of the plan that allows it; nil: it is learned without one.
	Accepted *plan.Decision
}

// Block is what a policy says of the end that is an address: the address alone, or the range that the plan accepts.
func (c Connection) Block() netip.Prefix {
	addr := c.To.Addr
	if c.To.IsPod() {
		addr = c.From.Addr
	}
	if c.Accepted != nil {
		return c.Accepted.Block(addr)
	}
	return netip.PrefixFrom(addr, addr.BitLen())
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
	// Connections that a plan can decide about, in the order of edge.Key.Compare. One that was seen to pass and to be
	// dropped is there twice.
	Connections []Candidate
	Listed      []Listed // nothing can be learned of these; the same order
	inv         *inventory.Inventory
}

// Candidate is a connection that may be learned.
type Candidate struct {
	Connection
	Doubt  Reason // why it is not learned unless a plan accepts it; empty: it is
	Detail string
}

// Sort decides for each edge. Forwarded and audited edges between known ends may be learned, and denied ones if a
// person wants it; all others are listed.
func Sort(edges []edge.Edge, inv *inventory.Inventory, criteria Criteria) (Evidence, error) {
	settled, merged := edge.NewFold(len(edges)), edge.NewFold(len(edges))
	for _, e := range edges {
		if err := settled.Put(inv.Settle(e.Key), &e); err != nil {
			return Evidence{}, fmt.Errorf("sort edges: %w", err)
		}
	}
	settled, err := inv.Translate(settled)
	if err != nil {
		return Evidence{}, fmt.Errorf("sort edges: %w", err)
	}
	out := Evidence{inv: inv}
	audited := map[edge.Key]bool{}
	for _, e := range settled.Edges() {
		if reason, detail := out.judge(e); reason != "" {
			if e.Verdict == flows.Dropped && reason != NoPod {
				reason, detail = Denied, fmt.Sprintf("%s: %s", reason, detail)
			}
			out.Listed = append(out.Listed, Listed{e, reason, detail})
			continue
		}
		k := e.Key
		k.Side, k.Verdict = "", ""
		audited[k] = audited[k] || e.Verdict == flows.Audited
		if e.Verdict == flows.Dropped {
			k.Verdict = flows.Dropped
		}
		if err := merged.Put(k, &e); err != nil {
			return Evidence{}, fmt.Errorf("sort edges: %w", err)
		}
	}
	for _, e := range merged.Edges() {
		c := Connection{From: e.From, To: e.To, Protocol: e.Protocol, Port: e.Port, Audited: audited[e.Key], Evidence: e}
		out.Connections = append(out.Connections, Candidate{Connection: c})
	}
	criteria.doubt(out.Connections, inv, SpanOf(edges))
	return out, nil
}

// judge says why nothing can be learned of an edge; empty: something can.
func (ev *Evidence) judge(e edge.Edge) (Reason, string) {
	inv := ev.inv
	switch {
	case e.From.Entity == edge.EntityOthers || e.To.Entity == edge.EntityOthers:
		return TooMany, "there are too many to keep each: if they are wanted, allow them by hand in the workload's policy, as a range"
	case e.From.Entity == flows.EntityAggregated || e.To.Entity == flows.EntityAggregated || e.Port == 0 && e.Side != flows.SideUnknown:
		return LeftOut, "have the source of the flows write addresses and ports: less aggregation of flow logs"
	case e.From.Entity == inventory.EntityPodAddress || e.To.Entity == inventory.EntityPodAddress:
		return PodAddress, "pods had this address one after the other: observe where flows name the pods, or give a newer inventory"
	case !e.From.IsPod() && !e.To.IsPod():
		return NoPod, "no policy applies"
	case e.Side == flows.SideUnknown:
		return DirectionUnknown, "observe for longer: a new connection shows who opens it"
	case e.From.Entity == inventory.EntityHost && e.To.IsPod():
		return OwnNode, "a pod's own node always reaches it"
	case e.To.Entity == inventory.EntityService:
		return ServiceAddress, "observe after service translation" + oneOf(inv.Behind(e.Key))
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

// oneOf names what the pods behind a Service's address can be.
func oneOf(behind []inventory.Backend) string {
	const most = 5
	var names []string
	for _, b := range behind[:min(len(behind), most)] {
		names = append(names, b.String())
	}
	if len(behind) > most {
		names = append(names, fmt.Sprintf("%d more", len(behind)-most))
	}
	if len(names) == 0 {
		return "; what is behind the address is not in the inventory"
	}
	return "; behind the address is one of " + strings.Join(names, ", ")
}

// Namespaces are those with a pod at an end of a connection, ordered.
func (e *Evidence) Namespaces() []string {
	var names []string
	for _, c := range e.Connections {
		for _, end := range []edge.Endpoint{c.From, c.To} {
			if end.IsPod() {
				names = append(names, end.Namespace)
			}
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
