// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Named writes down what DNS told the pod behind an interface now.
func (b *Book) Named(ifindex uint32, a names.Answer, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.local[ifindex]; known {
		b.names.Add(ifindex, a, now)
	}
}

// NameCounts returns how many names are held, and how many had to make room before their end.
func (b *Book) NameCounts() (held int, evicted uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names.Counts()
}

// name gives the other side the names that the pod knows it by. Pods and Services have better ones.
func (b *Book) name(f *flowpb.Flow, r *dataplane.Flow, remote *flowpb.Endpoint) {
	if remote.GetPodName() != "" || f.GetDestinationService() != nil && !r.Service.IsValid() {
		return
	}
	known := b.names.Names(r.Ifindex, r.Remote, r.Last)
	if r.Direction == netpol.Egress {
		f.DestinationNames = known
	} else {
		f.SourceNames = known
	}
}
