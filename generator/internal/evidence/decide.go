// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
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
	d := decision{
		namespace: namespace, plan: p, approved: approved, known: map[string]bool{}, used: map[*plan.Decision]bool{},
		learned: map[edge.Key]int{},
	}
	for k := range approved {
		d.known[k.From.Namespace] = true
	}
	for _, i := range e.touching[namespace] {
		d.about(&e.Connections[i])
	}
	for k, old := range approved {
		if _, seen := d.learned[k]; seen {
			continue
		}
		old.Side = flows.Egress // it was, when it was learned
		if reason, _ := e.judge(&old); reason != "" {
			d.Gone = append(d.Gone, k.String())
			continue
		}
		d.about(&Candidate{Connection: Connection{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port, Evidence: &old.Evidence}})
	}
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
	known     map[string]bool  // namespaces that approved connections come from
	learned   map[edge.Key]int // where in Connections
	used      map[*plan.Decision]bool
}

func (d *decision) about(c *Candidate) {
	said := d.plan.Decide(c.From, c.To, c.Protocol, c.Port)
	d.used[said] = true
	if doubt, detail := d.against(c, said); doubt != "" {
		d.Listed = append(d.Listed, Listed{c.edge(), doubt, detail})
		return
	}
	at, seen := d.learned[c.Key()]
	if !seen {
		at = len(d.Connections)
		d.learned[c.Key()] = at
		d.Connections = append(d.Connections, c.Connection)
	} else { // also what was dropped of it
		d.Connections[at].add(&c.Connection)
	}
	d.Connections[at].Accepted = said
}

// against is why a connection is not learned; empty: it is.
func (d *decision) against(c *Candidate, said *plan.Decision) (Reason, string) {
	_, approved := d.approved[c.Key()]
	switch {
	case said != nil && said.Accept:
		return "", ""
	case said != nil:
		return Rejected, said.Reason
	case c.Doubt == Denied:
		return c.Doubt, c.Detail
	case approved:
		return "", ""
	case c.Doubt != "":
		return c.Doubt, c.Detail
	case d.approved != nil && c.From.IsPod() && c.To.Namespace == d.namespace && c.From.Namespace != d.namespace && !d.known[c.From.Namespace]:
		return NewPeer, fmt.Sprintf("no connection from namespace %s was approved before: accept it in the plan", c.From.Namespace)
	}
	return "", ""
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
	elsewhere := func(from, to edge.Endpoint) bool {
		return !(from.IsPod() && in(from.Namespace)) && !(to.IsPod() && in(to.Namespace))
	}
	for i := range e.Connections {
		if c := &e.Connections[i]; c.Doubt != "" && elsewhere(c.From, c.To) {
			out = append(out, Listed{c.edge(), c.Doubt, c.Detail})
		}
	}
	for i := range e.Listed {
		if l := &e.Listed[i]; elsewhere(l.Edge.From, l.Edge.To) {
			out = append(out, *l)
		}
	}
	slices.SortStableFunc(out, func(a, b Listed) int { return a.Edge.Compare(b.Edge.Key) })
	return out
}
