// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// seen is evidence that nothing is added to any more: of its flows only the number is kept, and its days are shared.
type seen struct {
	first, last  time.Time
	flows        uint64
	estimated    bool
	days         *edge.Days
	nodes, names edge.Set
}

func seenOf(e *edge.Evidence, days *edge.Days) seen {
	flows, estimated := e.Flows.Value()
	return seen{e.First, e.Last, flows, estimated, days, e.Nodes, e.Names}
}

// evidence is what was seen, in full.
func (s *seen) evidence() edge.Evidence {
	return edge.Evidence{Flows: edge.CountOf(s.flows, s.estimated), First: s.first, Last: s.last, Days: *s.days, Nodes: s.nodes, Names: s.names}
}

// memory is where evidence is kept, for many at a time.
type memory struct {
	room []seen
	days map[edge.Days]*edge.Days
}

func (m *memory) keep(e *edge.Evidence) *seen {
	const many = 64
	days := m.days[e.Days]
	if days == nil {
		all := e.Days
		days = &all
		m.days[all] = days
	}
	if len(m.room) == cap(m.room) {
		m.room = make([]seen, 0, many)
	}
	m.room = append(m.room, seenOf(e, days))
	return &m.room[len(m.room)-1]
}
