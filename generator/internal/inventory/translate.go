// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// opened is what the records before and after a Service's translation have in common.
type opened struct {
	from     edge.Endpoint
	protocol corev1.Protocol
	verdict  flows.Verdict
}

// Translate makes one edge of what was recorded before and after a Service's translation. An edge to a
// Service with several workloads behind it becomes part of the edge to the one of them that its source was
// seen to reach. If it was seen to reach several, their edges say all, and the edge to the Service is left out.
// Without any, the edge stays as it is. The Fold that is given is empty afterwards, unless it is the one that is returned.
func (inv *Inventory) Translate(f *edge.Fold) (*edge.Fold, error) {
	several := false
	for k := range f.Keys() {
		several = several || len(inv.Behind(k)) > 1
	}
	if !several {
		return f, nil
	}
	edges := f.Drain()
	all := make([]*edge.Edge, len(edges))
	for i := range edges {
		all[i] = &edges[i]
	}
	out := edge.NewFold(len(edges))
	for _, e := range inv.Resolve(all) {
		if err := out.Put(e.Key, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Resolve does what Translate does with edges, and leaves these as they are. The result is in the order of
// Key.Compare if they are.
func (inv *Inventory) Resolve(edges []*edge.Edge) []*edge.Edge {
	reached := map[opened]map[Backend]edge.Endpoint{}
	for _, e := range edges {
		if len(inv.Behind(e.Key)) > 1 {
			reached[openedBy(e.Key)] = map[Backend]edge.Endpoint{}
		}
	}
	if len(reached) == 0 {
		return edges
	}
	for _, e := range edges {
		if ends := reached[openedBy(e.Key)]; ends != nil && e.Side != flows.SideUnknown {
			ends[backendOf(e.Key)] = e.To
		}
	}
	var out []*edge.Edge
	for _, e := range edges {
		switch met := inv.met(e.Key, reached); len(met) {
		case 0:
			out = append(out, e)
		case 1:
			k := e.Key
			k.To, k.Port = met[0].End, met[0].Port
			out = append(out, &edge.Edge{Key: k, Evidence: e.Evidence})
		}
	}
	return edge.Join(out)
}

// met are the workloads behind a Service that the source of an edge was seen to reach.
func (inv *Inventory) met(k edge.Key, reached map[opened]map[Backend]edge.Endpoint) (met []Backend) {
	for _, b := range inv.Behind(k) {
		if end, ok := reached[openedBy(k)][b]; ok {
			met = append(met, Backend{end, b.Port})
		}
	}
	return met
}

func openedBy(k edge.Key) opened { return opened{k.From, k.Protocol, k.Verdict} }

// backendOf is the destination of an edge. What an observer calls an address is no part of it.
func backendOf(k edge.Key) Backend {
	end := k.To
	if end.Entity != EntityService {
		end.Entity = ""
	}
	return Backend{end, k.Port}
}
