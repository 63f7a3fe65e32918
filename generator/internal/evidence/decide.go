// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
)

// Decided is what is learned for one namespace, and what is not.
type Decided struct {
	Connections []Connection // in the order of edge.Key.Compare
	Listed      []Listed
	// Unused are decisions of the plan that speak of no connection, in its order.
	Unused []string
}

// Decide sorts the connections of a namespace by its plan; nil: it has none. known are the namespaces that approved
// connections come from; nil: nothing is approved yet, and nobody is new.
func (e *Evidence) Decide(namespace string, p *plan.Plan, known map[string]bool) (*Decided, error) {
	out := &Decided{}
	fold, learned := edge.NewFold(len(e.Connections)), map[edge.Key]Connection{}
	used := map[*plan.Decision]bool{}
	for _, c := range e.Connections {
		if !c.Touches(namespace) {
			continue
		}
		d := p.Decide(c.From, c.To, c.Protocol, c.Port)
		used[d] = true
		if doubt, detail := c.against(namespace, d, known); doubt != "" {
			out.Listed = append(out.Listed, Listed{c.Evidence, doubt, detail})
			continue
		}
		k := c.Evidence.Key
		k.Verdict = ""
		if err := fold.Put(k, &c.Evidence); err != nil {
			return nil, fmt.Errorf("decide about the connections of namespace %s: %w", namespace, err)
		}
		c.Accepted, c.Audited = d, c.Audited || learned[k].Audited
		learned[k] = c.Connection
	}
	for _, merged := range fold.Edges() {
		c := learned[merged.Key]
		c.Evidence = merged
		out.Connections = append(out.Connections, c)
	}
	for _, l := range e.Listed {
		if l.Touches(namespace) {
			out.Listed = append(out.Listed, l)
		}
	}
	slices.SortStableFunc(out.Listed, func(a, b Listed) int { return a.Edge.Compare(b.Edge.Key) })
	if p != nil {
		for i := range p.Decisions {
			if !used[&p.Decisions[i]] {
				out.Unused = append(out.Unused, p.Decisions[i].String())
			}
		}
	}
	return out, nil
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

// against is why a connection is not learned; empty: it is.
func (c *Candidate) against(namespace string, d *plan.Decision, known map[string]bool) (Reason, string) {
	switch {
	case d != nil && d.Accept:
		return "", ""
	case d != nil:
		return Rejected, d.Reason
	case c.Doubt != "":
		return c.Doubt, c.Detail
	case known != nil && c.From.IsPod() && c.To.IsPod() && c.To.Namespace == namespace && c.From.Namespace != namespace && !known[c.From.Namespace]:
		return NewPeer, fmt.Sprintf("no connection from namespace %s was approved before: accept it in the plan", c.From.Namespace)
	}
	return "", ""
}
