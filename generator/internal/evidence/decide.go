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
		fold: edge.NewFold(len(e.Connections) + len(approved)), learned: map[edge.Key]Connection{},
	}
	for k := range approved {
		d.known[k.From.Namespace] = true
	}
	for _, c := range e.Connections {
		if !c.Touches(namespace) {
			continue
		}
		if err := d.about(c); err != nil {
			return nil, err
		}
	}
	for k, old := range approved {
		if _, seen := d.learned[k]; seen {
			continue
		}
		oriented := old
		oriented.Side = flows.Egress // it was, when it was learned
		if reason, _ := e.judge(oriented); reason != "" {
			d.Gone = append(d.Gone, k.String())
			continue
		}
		if err := d.about(Candidate{Connection: Connection{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port, Evidence: old}}); err != nil {
			return nil, err
		}
	}
	for _, merged := range d.fold.Edges() {
		c := d.learned[merged.Key]
		c.Evidence = merged
		d.Connections = append(d.Connections, c)
	}
	for _, l := range e.Listed {
		if l.Touches(namespace) {
			d.Listed = append(d.Listed, l)
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
	fold      *edge.Fold
	learned   map[edge.Key]Connection
	used      map[*plan.Decision]bool
}

func (d *decision) about(c Candidate) error {
	said := d.plan.Decide(c.From, c.To, c.Protocol, c.Port)
	d.used[said] = true
	if doubt, detail := d.against(c, said); doubt != "" {
		d.Listed = append(d.Listed, Listed{c.Evidence, doubt, detail})
		return nil
	}
	k := c.Evidence.Key
	k.Verdict = ""
	if err := d.fold.Put(k, &c.Evidence); err != nil {
		return fmt.Errorf("decide about the connections of namespace %s: %w", d.namespace, err)
	}
	c.Accepted, c.Audited = said, c.Audited || d.learned[k].Audited
	d.learned[k] = c.Connection
	return nil
}

// against is why a connection is not learned; empty: it is.
func (d *decision) against(c Candidate, said *plan.Decision) (Reason, string) {
	k := c.Evidence.Key
	k.Verdict = ""
	_, approved := d.approved[k]
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
			learned[c.Evidence.Key] = c
			times[c.Evidence.Key]++
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
	slices.SortFunc(out, func(a, b Connection) int { return a.Evidence.Compare(b.Evidence.Key) })
	return out, nil
}

// Elsewhere are the edges that are not learned without a plan, and that none of the namespaces takes part in.
func (e *Evidence) Elsewhere(in func(namespace string) bool) []Listed {
	var out []Listed
	for _, c := range e.Connections {
		if c.Doubt != "" {
			out = append(out, Listed{c.Evidence, c.Doubt, c.Detail})
		}
	}
	out = append(out, e.Listed...)
	out = slices.DeleteFunc(out, func(l Listed) bool {
		return slices.ContainsFunc([]edge.Endpoint{l.Edge.From, l.Edge.To}, func(end edge.Endpoint) bool { return end.IsPod() && in(end.Namespace) })
	})
	slices.SortStableFunc(out, func(a, b Listed) int { return a.Edge.Compare(b.Edge.Key) })
	return out
}
