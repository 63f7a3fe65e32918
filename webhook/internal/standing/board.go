// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Board has the standing of every namespace.
type Board struct {
	mu          sync.Mutex
	standings   map[string]Standing
	subscribers []func(namespace string, s Standing)
}

// New returns a Board that knows of no namespace.
func New() *Board { return &Board{standings: map[string]Standing{}} }

// Subscribe has f called for each namespace that is known, and after each change that can be seen; when
// the profile is another one, with the standing before as well. f must not wait, nor call the Board.
func (b *Board) Subscribe(f func(namespace string, s Standing)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers = append(b.subscribers, f)
	for namespace, now := range b.standings {
		f(namespace, now)
	}
}

// Note replaces the standing of a namespace.
func (b *Board) Note(namespace string, now Standing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.standings[namespace]
	b.standings[namespace] = now
	if known && now.LooksLike(&before) {
		return
	}
	if known && before.Profile != now.Profile {
		b.tell(namespace, before)
	}
	b.tell(namespace, now)
}

// Forget drops a namespace that is gone. Subscribers get its last standing.
func (b *Board) Forget(namespace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, known := b.standings[namespace]; known {
		delete(b.standings, namespace)
		b.tell(namespace, last)
	}
}

func (b *Board) tell(namespace string, s Standing) {
	for _, f := range b.subscribers {
		f(namespace, s)
	}
}

// Of returns the standing of a namespace, if it is known.
func (b *Board) Of(namespace string) (Standing, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.standings[namespace]
	return s, ok
}

var namespaces = prometheus.NewDesc("bulkhead_namespaces",
	"Namespaces by mode, profile, and whether they have what these ask for.", []string{"mode", "profile", "ready"}, nil)

// Describe implements prometheus.Collector.
func (b *Board) Describe(to chan<- *prometheus.Desc) { to <- namespaces }

// Collect implements prometheus.Collector.
func (b *Board) Collect(to chan<- prometheus.Metric) {
	counts := map[[3]string]float64{}
	b.mu.Lock()
	for _, s := range b.standings {
		counts[s.labels()]++
	}
	b.mu.Unlock()
	for labels, n := range counts {
		to <- prometheus.MustNewConstMetric(namespaces, prometheus.GaugeValue, n, labels[:]...)
	}
}
