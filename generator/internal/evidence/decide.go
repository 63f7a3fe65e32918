// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
)

// Decided is what is learned for one namespace, and what is not.
type Decided struct {
	Connections []Connection // in the order of edge.Key.Compare
	Listed      []Listed
	// Unused are decisions of the plan that speak of no connection, in its order.
	Unused []string
	// Gone are approved connections of workloads that are not in the inventory any more, in phrases.
	Gone []string
}

// Approved are connections that a namespace's policies allow already, with their evidence at that time. Nil: nothing is
// approved yet, and nobody is new.
type Approved map[edge.Key]edge.Edge

// Decide sorts the connections of a namespace by its plan; nil: it has none. What is approved stays, seen again or
// not, unless the plan rejects it or its workload is gone.
func (e *Evidence) Decide(namespace string, p *plan.Plan, approved Approved) (*Decided, error) {
	d := decision{namespace: namespace, plan: p, approved: approved, known: map[string]bool{}, used: map[*plan.Decision]bool{}}
	for k := range approved {
		d.known[k.From.Namespace] = true
	}
	var touching []int32
	if n := e.namespaces[namespace]; n != nil {
		touching = n.touching
	}
	d.Connections = make([]Connection, 0, len(touching))
	for _, i := range touching {
		d.about(&e.candidates[i])
	}
	e.unseen(&d)
	slices.SortFunc(d.Connections, func(a, b Connection) int { return a.Key().Compare(b.Key()) })
	for i := range e.Listed {
		if e.Listed[i].Touches(namespace) {
			d.Listed = append(d.Listed, e.Listed[i])
		}
	}
	slices.SortStableFunc(d.Listed, func(a, b Listed) int { return a.Edge.Compare(b.Edge.Key) })
	slices.Sort(d.Gone)
	d.unused()
	return &d.Decided, nil
}

// decision is Decide's work.
type decision struct {
	Decided
	namespace string
	plan      *plan.Plan
	approved  Approved
	known     map[string]bool // namespaces that approved connections come from
	used      map[*plan.Decision]bool
}

// unseen adds what was approved and is not learned now, in the order of its keys.
func (e *Evidence) unseen(d *decision) {
	learned := d.Connections // in order
	for _, k := range slices.SortedFunc(maps.Keys(d.approved), edge.Key.Compare) {
		bare := edge.Key{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port}
		if _, is := slices.BinarySearchFunc(learned, bare, func(c Connection, k edge.Key) int { return c.Key().Compare(k) }); is {
			continue
		}
		old := d.approved[k]
		old.Side = flows.Egress // it was, when it was learned
		if e.gone(&old) {
			d.Gone = append(d.Gone, k.String())
			continue
		}
		seen := seenOf(&old.Evidence, &old.Days)
		d.about(&candidate{from: &end{Endpoint: k.From}, to: &end{Endpoint: k.To}, protocol: k.Protocol, port: k.Port, seen: &seen})
	}
}

// gone reports whether nothing could be learned of an edge now.
func (e *Evidence) gone(old *edge.Edge) bool {
	reason, _ := judge(old, e.inv)
	return reason != "" || faultOf(old.From, e.inv.Workload(old.From), e.inv) != nil || faultOf(old.To, e.inv.Workload(old.To), e.inv) != nil
}

// about takes candidates in the order of their keys.
func (d *decision) about(c *candidate) {
	said := d.plan.Decide(c.from.Endpoint, c.to.Endpoint, c.protocol, c.port)
	d.used[said] = true
	if against := d.against(c, said); against != nil {
		d.Listed = append(d.Listed, Listed{c.edge(), against.reason, against.detail})
		return
	}
	learned := c.connection()
	learned.Accepted = said
	if last := len(d.Connections) - 1; c.passed != nil { // it comes after what has passed, and is as accepted
		learned.Audited = d.Connections[last].Audited
		d.Connections[last] = learned
		return
	}
	d.Connections = append(d.Connections, learned)
}

// against is why a connection is not learned; nil: it is.
func (d *decision) against(c *candidate, said *plan.Decision) *doubt {
	denied := c.doubt != nil && c.doubt.reason == Denied
	switch {
	case said != nil && said.Accept:
		return nil
	case said != nil:
		return &doubt{Rejected, said.Reason}
	case denied:
		return c.doubt
	case d.isApproved(c):
		return nil
	case c.doubt != nil:
		return c.doubt
	case d.approved != nil && c.from.IsPod() && c.to.Namespace == d.namespace && c.from.Namespace != d.namespace && !d.known[c.from.Namespace]:
		return &doubt{NewPeer, fmt.Sprintf("no connection from namespace %s was approved before: accept it in the plan", c.from.Namespace)}
	}
	return nil
}

func (d *decision) isApproved(c *candidate) bool {
	if len(d.approved) == 0 {
		return false
	}
	_, is := d.approved[c.key()]
	return is
}

func (d *decision) unused() {
	if d.plan == nil {
		return
	}
	for i := range d.plan.Decisions {
		if !d.used[&d.plan.Decisions[i]] {
			d.Unused = append(d.Unused, d.plan.Decisions[i].String())
		}
	}
}

// Agreed are the connections that every namespace at their ends learns, of these namespaces and by these plans. Those
// that touch none of them are left out.
func (e *Evidence) Agreed(namespaces []string, plans map[string]*plan.Plan) ([]Connection, error) {
	learned, times := map[edge.Key]Connection{}, map[edge.Key]int{}
	for _, namespace := range namespaces {
		decided, err := e.Decide(namespace, plans[namespace], nil)
		if err != nil {
			return nil, err
		}
		for _, c := range decided.Connections {
			learned[c.Key()] = c
			times[c.Key()]++
		}
	}
	var out []Connection
	for k, c := range learned {
		touched := 0
		for _, namespace := range namespaces {
			if c.Touches(namespace) {
				touched++
			}
		}
		if times[k] == touched {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Connection) int { return a.Key().Compare(b.Key()) })
	return out, nil
}

// Elsewhere are the edges that are not learned without a plan, and that none of the namespaces takes part in.
func (e *Evidence) Elsewhere(in func(namespace string) bool) []Listed {
	var out []Listed
	elsewhere := func(from, to *edge.Endpoint) bool {
		return !(from.IsPod() && in(from.Namespace)) && !(to.IsPod() && in(to.Namespace))
	}
	for i := range e.candidates {
		if c := &e.candidates[i]; c.doubt != nil && elsewhere(&c.from.Endpoint, &c.to.Endpoint) {
			out = append(out, Listed{c.edge(), c.doubt.reason, c.doubt.detail})
		}
	}
	for i := range e.Listed {
		if l := &e.Listed[i]; elsewhere(&l.Edge.From, &l.Edge.To) {
			out = append(out, *l)
		}
	}
	slices.SortStableFunc(out, func(a, b Listed) int { return a.Edge.Compare(b.Edge.Key) })
	return out
}
