// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// Span is the time from the first flow to the last one. The zero Span is that of nothing.
type Span struct{ First, Last time.Time }

// SpanOf is the span of edges.
func SpanOf(edges []edge.Edge) (s Span) {
	for i := range edges {
		s.add(&edges[i].Evidence)
	}
	return s
}

// SpanOfConnections is the span of connections.
func SpanOfConnections(connections []Connection) (s Span) {
	for i := range connections {
		s.add(connections[i].Evidence)
	}
	return s
}

func (s *Span) add(e *edge.Evidence) {
	if s.First.IsZero() || e.First.Before(s.First) {
		s.First = e.First
	}
	if e.Last.After(s.Last) {
		s.Last = e.Last
	}
}

// Length is the time that the span takes.
func (s Span) Length() time.Duration { return s.Last.Sub(s.First) }

// Days is the number of days (UTC) that the span touches; 0: it is that of nothing.
func (s Span) Days() int {
	if s.Last.IsZero() {
		return 0
	}
	const day = 24 * time.Hour
	return int(s.Last.Truncate(day).Sub(s.First.Truncate(day))/day) + 1
}
