// SPDX-License-Identifier: Apache-2.0

// Package evidence decides what may be learned from observed edges, and what is only listed for a
// person to look at.
package evidence

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
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
	// Evidence of both sides together. It is shared: nobody writes to it.
	Evidence *edge.Evidence
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

// Key is the connection without its evidence; side and verdict are empty.
func (c *Connection) Key() edge.Key {
	return edge.Key{From: c.From, To: c.To, Protocol: c.Protocol, Port: c.Port}
}

// Edge is the connection as one edge, without side and verdict.
func (c *Connection) Edge() edge.Edge { return edge.Edge{Key: c.Key(), Evidence: *c.Evidence} }

// String is the connection in one phrase.
func (c Connection) String() string { return c.Key().String() }

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
	touching    map[string][]int32 // which Connections have a pod of a namespace
	span        Span               // of all edges
}

// Candidate is a connection that may be learned.
type Candidate struct {
	Connection
	Denied bool   // these flows were dropped
	Doubt  Reason // why it is not learned unless a plan accepts it; empty: it is
	Detail string
}

// edge is the candidate as it was seen.
func (c *Candidate) edge() edge.Edge {
	e := c.Connection.Edge()
	if c.Denied {
		e.Verdict = flows.Dropped
	}
	return e
}

// Sort decides for each edge. Forwarded and audited edges between known ends may be learned, and denied ones if a
// person wants it; all others are listed. Of their evidence, sets and counts are
// shared: nobody writes to them afterwards.
func Sort(edges []edge.Edge, inv *inventory.Inventory, criteria Criteria) (Evidence, error) {
	settled := make([]*edge.Edge, len(edges))
	for i := range edges {
		e := &edges[i]
		if k := inv.Settle(e.Key); k != e.Key {
			e = &edge.Edge{Key: k, Evidence: e.Evidence}
		}
		settled[i] = e
	}
	out := Evidence{inv: inv, span: SpanOf(edges)}
	settled = inv.Resolve(edge.Join(settled))
	out.Connections = make([]Candidate, 0, len(settled))
	for _, e := range settled {
		if reason, detail := out.judge(e); reason != "" {
			if e.Verdict == flows.Dropped && reason != NoPod {
				reason, detail = Denied, fmt.Sprintf("%s: %s", reason, detail)
			}
			out.Listed = append(out.Listed, Listed{*e, reason, detail})
			continue
		}
		out.learnable(e)
	}
	out.merge()
	criteria.doubt(out.Connections, inv, out.span)
	return out, nil
}

// Span is the time of all edges.
func (ev *Evidence) Span() Span { return ev.span }

// learnable adds an edge as a candidate of its own, with a copy of its evidence: the edges can then be let go of.
func (ev *Evidence) learnable(e *edge.Edge) {
	seen := e.Evidence
	c := Connection{From: e.From, To: e.To, Protocol: e.Protocol, Port: e.Port, Audited: e.Verdict == flows.Audited, Evidence: &seen}
	ev.Connections = append(ev.Connections, Candidate{Connection: c, Denied: e.Verdict == flows.Dropped})
}

// merge makes one candidate of those of the same connection, but for what was dropped of it, and notes which
// namespaces they are of.
func (ev *Evidence) merge() {
	all := ev.Connections
	slices.SortStableFunc(all, func(a, b Candidate) int { // as edges are ordered
		return cmp.Or(a.Key().Compare(b.Key()), order(a.Denied)-order(b.Denied))
	})
	kept := all[:0]
	for i := range all {
		c := &all[i]
		if n := len(kept); n > 0 && kept[n-1].Denied == c.Denied && kept[n-1].Key() == c.Key() {
			kept[n-1].add(&c.Connection)
			continue
		}
		kept = append(kept, *c)
	}
	clear(all[len(kept):])
	ev.Connections, ev.touching = kept, map[string][]int32{}
	for i := range kept {
		from, to := kept[i].From, kept[i].To
		if from.IsPod() {
			ev.touching[from.Namespace] = append(ev.touching[from.Namespace], int32(i))
		}
		if to.IsPod() && !(from.IsPod() && from.Namespace == to.Namespace) {
			ev.touching[to.Namespace] = append(ev.touching[to.Namespace], int32(i))
		}
	}
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

// add adds what was seen of the same connection.
func (c *Connection) add(o *Connection) {
	both := c.Evidence.With(o.Evidence)
	c.Evidence, c.Audited = &both, c.Audited || o.Audited
}

// judge says why nothing can be learned of an edge; empty: something can.
func (ev *Evidence) judge(e *edge.Edge) (Reason, string) {
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
			return NoWorkload, inv.Unknown(end)
		}
		if w.Selector == nil {
			return NoSelector, cmp.Or(w.Advice, fmt.Sprintf("give the pods of %s a label that outlives a rollout", end))
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
func (ev *Evidence) Namespaces() []string { return slices.Sorted(maps.Keys(ev.touching)) }

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
