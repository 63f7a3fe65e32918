// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// An observer that reports a packet at several points does not know its direction at all of them. What it reports without one is
// no question where it reports the same two ends with one.

// ends are two ends in an order that does not depend on who opened a connection.
type ends struct {
	one, other edge.Endpoint
	protocol   corev1.Protocol
}

// endsOf leaves out what an observer calls an address: it can be called differently at each point.
func endsOf(from, to edge.Endpoint, protocol corev1.Protocol) ends {
	from.Entity, to.Entity = "", ""
	if from.Compare(to) > 0 {
		from, to = to, from
	}
	return ends{from, to, protocol}
}

// knowEnds gives the reason KnownEnds to what is listed without a direction, where any of the edges has the same ends and a
// direction. The address of a Service stands for everything behind it.
func (ev *Evidence) knowEnds(edges []*edge.Edge) {
	asked := map[ends]bool{} // whether a direction is known
	for _, l := range ev.Listed {
		if l.Reason == DirectionUnknown {
			for _, e := range ev.possible(l.Edge.Key) {
				asked[e] = false
			}
		}
	}
	if len(asked) == 0 {
		return
	}
	for _, e := range edges {
		k := endsOf(e.From, e.To, e.Protocol)
		if _, is := asked[k]; is && e.Side != flows.SideUnknown && e.Verdict != flows.Dropped {
			asked[k] = true
		}
	}
	for i := range ev.Listed {
		if l := &ev.Listed[i]; l.Reason == DirectionUnknown && slices.ContainsFunc(ev.possible(l.Edge.Key), func(e ends) bool { return asked[e] }) {
			l.Reason, l.Detail = KnownEnds, "a connection between these ends was observed with its direction"
		}
	}
}

// possible are the ends of an edge, and those behind a Service's address.
func (ev *Evidence) possible(k edge.Key) []ends {
	all := []ends{endsOf(k.From, k.To, k.Protocol)}
	for _, end := range ev.inv.Fronted(k.To) {
		all = append(all, endsOf(k.From, end, k.Protocol))
	}
	for _, end := range ev.inv.Fronted(k.From) {
		all = append(all, endsOf(k.To, end, k.Protocol))
	}
	return all
}
