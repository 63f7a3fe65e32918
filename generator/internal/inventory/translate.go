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
// Without any, the edge stays as it is.
func (inv *Inventory) Translate(f *edge.Fold) (*edge.Fold, error) {
	edges := f.Edges()
	reached := map[opened]map[Backend]edge.Endpoint{}
	for _, e := range edges {
		if len(inv.Behind(e.Key)) > 1 {
			reached[openedBy(e.Key)] = map[Backend]edge.Endpoint{}
		}
	}
	if len(reached) == 0 {
		return f, nil
	}
	for _, e := range edges {
		if ends := reached[openedBy(e.Key)]; ends != nil && e.Side != flows.SideUnknown {
			ends[backendOf(e.Key)] = e.To
		}
	}
	out := edge.NewFold(len(edges))
	for _, e := range edges {
		var met []Backend
		for _, b := range inv.Behind(e.Key) {
			if end, ok := reached[openedBy(e.Key)][b]; ok {
				met = append(met, Backend{end, b.Port})
			}
		}
		switch len(met) {
		case 0:
		case 1:
			e.To, e.Port = met[0].End, met[0].Port
		default:
			continue
		}
		if err := out.Put(e.Key, &e); err != nil {
			return nil, err
		}
	}
	return out, nil
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
