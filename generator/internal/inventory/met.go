// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// maxMet bounds the addresses of pods that were met. Beyond it all are forgotten, because pods come and go.
const maxMet = 1 << 15

// met are the pods that records named last, by their addresses: mostly the next record there names the same one. What
// follows from its names is looked up once then.
type met map[netip.Addr]metAt

// metAt is a pod as records name it that have its workload, and as those do that have not; nil: none did.
type metAt struct{ owned, bare *metPod }

type metPod struct {
	namespace, pod string
	// By any is set where the inventory has the pod's owner, so that it does not matter what else a record says.
	byAny          bool
	kind, workload string
	labels         []string

	end     edge.Endpoint
	address *address
	tenant  *tenant
	strange bool // the inventory does not have the namespace
}

// find returns nil for what is no pod, or was not met as it is named now.
func (m met) find(e *flows.Endpoint) *metPod {
	if e.Pod == "" {
		return nil
	}
	at := m[e.Addr]
	p := at.owned
	if e.Workload == "" {
		p = at.bare
	}
	if p == nil || p.pod != e.Pod || p.namespace != e.Namespace || !p.byAny && !p.named(e) {
		return nil
	}
	return p
}

func (p *metPod) named(e *flows.Endpoint) bool {
	if p.workload != e.Workload || e.Workload != "" && p.kind != e.Kind {
		return false
	}
	return !e.IsPassing() || len(p.labels) == len(e.Labels) && (len(e.Labels) == 0 || &p.labels[0] == &e.Labels[0]) // nobody changes them
}

// keep remembers a pod that a record named.
func (m met) keep(e *flows.Endpoint, p *metPod) {
	p.namespace, p.pod, p.kind, p.workload, p.labels = e.Namespace, e.Pod, e.Kind, e.Workload, e.Labels
	at, known := m[e.Addr]
	if !known && len(m) == maxMet {
		clear(m)
	}
	if e.Workload != "" || p.byAny {
		at.owned = p
	}
	if e.Workload == "" || p.byAny {
		at.bare = p
	}
	m[e.Addr] = at
}
