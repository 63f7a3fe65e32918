// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"cmp"
	"fmt"
	"runtime"
	"sync"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// Sort decides for each edge. Forwarded and audited edges between known ends may be learned, and denied ones if a
// person wants it; all others are listed. Of their evidence, sets and counts are shared: nobody writes to them
// afterwards. The edges themselves can be let go of.
//
// about are the namespaces that decisions will be asked for; none: all. Of what is not in doubt, only that is kept
// which touches one of these. All edges count for what is in doubt.
func Sort(edges []edge.Edge, inv *inventory.Inventory, criteria Criteria, about ...string) Evidence {
	all := inv.Resolve(edge.Join(settled(edges, inv)))
	parts := split(all)
	out, sorted := newEvidence(inv, SpanOf(edges), about), make([]Evidence, len(parts))
	var group sync.WaitGroup
	for i, part := range parts {
		group.Go(func() {
			s := sorting{
				Evidence: newEvidence(inv, out.span, about), criteria: criteria, all: len(about) == 0,
				ends: map[edge.Endpoint]*end{}, tries: newTries(), memory: memory{days: map[edge.Days]*edge.Days{}},
			}
			for rest := part; len(rest) > 0; {
				n := sourceEnd(rest, 1)
				s.source(rest[:n])
				rest = rest[n:]
			}
			sorted[i] = s.Evidence
		})
	}
	group.Wait()
	candidates := 0
	for i := range sorted {
		candidates += len(sorted[i].candidates)
	}
	out.candidates = make([]candidate, 0, candidates)
	for i := range sorted {
		out.add(&sorted[i])
		sorted[i] = Evidence{} // which needs no memory any more
	}
	out.knowEnds(all)
	return out
}

func newEvidence(inv *inventory.Inventory, span Span, about []string) Evidence {
	e := Evidence{inv: inv, span: span, namespaces: map[string]*namespace{}}
	for _, name := range about {
		e.namespaces[name] = &namespace{asked: true}
	}
	return e
}

// split makes as many parts of edges as there are cores. All of a source are in one of them: whether one is in doubt
// depends on the others.
func split(edges []*edge.Edge) (parts [][]*edge.Edge) {
	const least = 1024 // of which a part is worth it
	each := max(least, len(edges)/runtime.GOMAXPROCS(0)+1)
	for len(edges) > 0 {
		n := sourceEnd(edges, min(each, len(edges)))
		parts, edges = append(parts, edges[:n]), edges[n:]
	}
	return parts
}

// sourceEnd is where the edges end that begin where the one before edge n does.
func sourceEnd(edges []*edge.Edge, n int) int {
	for n < len(edges) && edges[n].From == edges[n-1].From {
		n++
	}
	return n
}

// add adds what follows.
func (ev *Evidence) add(next *Evidence) {
	before := int32(len(ev.candidates))
	ev.Listed, ev.candidates = append(ev.Listed, next.Listed...), append(ev.candidates, next.candidates...)
	for name, n := range next.namespaces {
		if ev.namespaces[name] == nil {
			ev.namespaces[name] = &namespace{asked: n.asked}
		}
		all := ev.namespaces[name]
		for _, i := range n.touching {
			all.touching = append(all.touching, before+i)
		}
	}
}

// settled names workloads as they are known now.
func settled(edges []edge.Edge, inv *inventory.Inventory) []*edge.Edge {
	out := make([]*edge.Edge, len(edges))
	for i := range edges {
		e := &edges[i]
		if k := inv.Settle(e.Key); k != e.Key {
			e = &edge.Edge{Key: k, Evidence: e.Evidence}
		}
		out[i] = e
	}
	return out
}

// sorting is Sort's work, one source of connections after the other.
type sorting struct {
	Evidence
	criteria Criteria
	all      bool // namespaces were asked for
	ends     map[edge.Endpoint]*end
	found    []finding // of the source
	tries    *tries
	memory   memory
}

// finding is a candidate with all of its evidence.
type finding struct {
	candidate
	evidence *edge.Evidence
}

// source sorts all edges of one source.
func (s *sorting) source(edges []*edge.Edge) {
	s.found = s.found[:0]
	from := s.end(edges[0].From)
	var to *end
	for i, e := range edges {
		if i == 0 || e.To != edges[i-1].To {
			to = s.end(e.To)
		}
		if d := s.judge(e, from, to); d != nil {
			s.Listed = append(s.Listed, Listed{*e, d.reason, d.detail})
			continue
		}
		s.add(finding{candidate{
			from: from, to: to, protocol: e.Protocol, port: e.Port, audited: e.Verdict == flows.Audited, denied: e.Verdict == flows.Dropped,
		}, &e.Evidence})
	}
	s.doubtOf(s.found)
	for i := range s.found {
		var passed *edge.Evidence
		if i > 0 && s.found[i].denied && s.found[i-1].isOf(&s.found[i].candidate) {
			passed = s.found[i-1].evidence
		}
		s.keep(&s.found[i], passed)
	}
}

// end finds an end. Addresses are of one source alone.
func (s *sorting) end(e edge.Endpoint) *end {
	if !e.IsPod() {
		return &end{Endpoint: e}
	}
	known := s.ends[e]
	if known == nil {
		w := s.inv.Workload(e)
		known = &end{Endpoint: e, of: s.namespace(e.Namespace), workload: w, fault: faultOf(e, w, s.inv)}
		s.ends[e] = known
	}
	return known
}

func (s *sorting) namespace(name string) *namespace {
	if s.namespaces[name] == nil {
		s.namespaces[name] = &namespace{asked: s.all}
	}
	return s.namespaces[name]
}

// judge says why nothing can be learned of an edge; nil: something can.
func (s *sorting) judge(e *edge.Edge, from, to *end) *doubt {
	why := cmp.Or(from.fault, to.fault)
	if reason, detail := judge(e, s.inv); reason != "" {
		why = &doubt{reason, detail}
	}
	if why != nil && e.Verdict == flows.Dropped && why.reason != NoPod {
		return &doubt{Denied, fmt.Sprintf("%s: %s", why.reason, why.detail)}
	}
	return why
}

// add makes one candidate of those of the same connection, which follow each other, but for what was dropped of it: that
// comes last.
func (s *sorting) add(f finding) {
	n := len(s.found)
	for i := n - 1; i >= 0 && s.found[i].isOf(&f.candidate); i-- {
		if s.found[i].denied == f.denied {
			s.found[i].add(&f)
			return
		}
	}
	s.found = append(s.found, f)
	if n > 0 && !f.denied && s.found[n-1].isOf(&f.candidate) {
		s.found[n-1], s.found[n] = s.found[n], s.found[n-1]
	}
}

// isOf reports whether two candidates of a source are of the same connection.
func (c *candidate) isOf(o *candidate) bool {
	return c.to == o.to && c.port == o.port && c.protocol == o.protocol
}

func (f *finding) add(o *finding) {
	both := f.evidence.With(o.evidence)
	f.evidence, f.audited = &both, f.audited || o.audited
}

// keep keeps a candidate, unless nobody will ask for it. passed is what has passed of a connection that was also
// dropped; otherwise nil.
func (s *sorting) keep(f *finding, passed *edge.Evidence) {
	from, to := f.from.of, f.to.of
	asked := from != nil && from.asked || to != nil && to.asked
	if !asked && f.doubt == nil {
		return
	}
	f.seen = s.memory.keep(f.evidence)
	if passed != nil {
		both := passed.With(f.evidence)
		f.passed = s.memory.keep(&both)
	}
	at := int32(len(s.candidates))
	s.candidates = append(s.candidates, f.candidate)
	if from != nil {
		from.touching = append(from.touching, at)
	}
	if to != nil && to != from {
		to.touching = append(to.touching, at)
	}
}
