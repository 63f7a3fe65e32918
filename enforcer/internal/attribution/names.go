// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
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

// namesOf are the names that the pod knows the other side by. Pods and Services have better ones.
func (b *Book) namesOf(f *Flow) []string {
	r := &f.record
	if f.remote.GetPodName() != "" || f.service != nil && !r.Service.IsValid() {
		return nil
	}
	return b.names.Names(r.Ifindex, r.Remote, r.Last)
}
