// SPDX-License-Identifier: Apache-2.0

// Package evidence decides what may be learned from observed edges, and what is only listed for a
// person to look at.
package evidence

import (
	"cmp"
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
	KnownEnds        Reason = "known-ends"        // nobody saw who opened it, but a connection of the same ends
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

// Evidence is the sorted input of a run. Nothing writes to it, so that several goroutines may read it.
type Evidence struct {
	// Listed is what nothing can be learned of, in the order of edge.Key.Compare.
	Listed []Listed
	// candidates may be learned; the same order. A connection that was seen to pass and to be dropped is there twice.
	candidates []candidate
	namespaces map[string]*namespace
	inv        *inventory.Inventory
	span       Span // of all edges
}

// namespace is what candidates touch.
type namespace struct {
	asked    bool    // for
	touching []int32 // candidates with a pod of it at an end, in order
}

// end is an end of candidates. There are far fewer workloads than connections of them.
type end struct {
	edge.Endpoint
	of       *namespace          // nil: it is no pod
	workload *inventory.Workload // nil: it is no pod, or not known
	fault    *doubt              // why nothing can be learned of its edges; nil: something can
}

// doubt is why something is not learned, and what a person can do.
type doubt struct {
	reason Reason
	detail string
}

// candidate is a connection that may be learned: small, because a cluster's are in memory until its last namespace is
// done.
type candidate struct {
	from, to *end
	protocol corev1.Protocol
	port     uint16
	audited  bool
	denied   bool // these flows were dropped
	seen     *seen
	passed   *seen  // of what was dropped and has also passed: both together; otherwise nil
	doubt    *doubt // why it is not learned unless a plan accepts it; nil: it is
}

// key is the candidate without side and verdict.
func (c *candidate) key() edge.Key {
	return edge.Key{From: c.from.Endpoint, To: c.to.Endpoint, Protocol: c.protocol, Port: c.port}
}

func (c *candidate) connection() Connection {
	all := cmp.Or(c.passed, c.seen).evidence()
	return Connection{From: c.from.Endpoint, To: c.to.Endpoint, Protocol: c.protocol, Port: c.port, Audited: c.audited, Evidence: &all}
}

// edge is the candidate as it was seen.
func (c *candidate) edge() edge.Edge {
	e := edge.Edge{Key: c.key(), Evidence: c.seen.evidence()}
	if c.denied {
		e.Verdict = flows.Dropped
	}
	return e
}

// Span is the time of all edges.
func (ev *Evidence) Span() Span { return ev.span }

// judge says why nothing can be learned of an edge, whatever its ends are; empty: something can.
func judge(e *edge.Edge, inv *inventory.Inventory) (Reason, string) {
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
	return "", ""
}

// faultOf says why nothing can be learned of a pod's edges; nil: something can.
func faultOf(e edge.Endpoint, w *inventory.Workload, inv *inventory.Inventory) *doubt {
	switch {
	case !e.IsPod():
		return nil
	case w == nil:
		return &doubt{NoWorkload, inv.Unknown(e)}
	case w.Selector == nil:
		return &doubt{NoSelector, cmp.Or(w.Advice, fmt.Sprintf("give the pods of %s a label that outlives a rollout", e))}
	}
	return nil
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
func (ev *Evidence) Namespaces() (names []string) {
	for name, n := range ev.namespaces {
		if len(n.touching) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
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
