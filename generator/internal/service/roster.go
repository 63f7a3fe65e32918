// SPDX-License-Identifier: Apache-2.0

package service

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// roster knows the addresses of observers that are followed, and which of them answer. It is safe for
// concurrent use.
type roster struct {
	mu      sync.Mutex
	answers map[flows.Address]bool
	up      *prometheus.GaugeVec
}

func newRoster() *roster {
	opts := prometheus.GaugeOpts{Name: prefix + "observer_up", Help: "1: the observer's address is being followed; 0: it does not answer."}
	return &roster{answers: map[flows.Address]bool{}, up: prometheus.NewGaugeVec(opts, []string{"observer", "address"})}
}

// add begins with an address; it does not answer yet.
func (r *roster) add(a flows.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(a, false)
}

// set says whether an address answers. One that is not followed any more is left out.
func (r *roster) set(a flows.Address, answers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, followed := r.answers[a]; followed {
		r.put(a, answers)
	}
}

func (r *roster) put(a flows.Address, answers bool) {
	r.answers[a] = answers
	value := 0.0
	if answers {
		value = 1
	}
	r.up.WithLabelValues(a.Observer, a.IP.String()).Set(value)
}

func (r *roster) remove(a flows.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.answers, a)
	r.up.DeleteLabelValues(a.Observer, a.IP.String())
}

// count says how many of all followed addresses answer.
func (r *roster) count() (answering, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, answers := range r.answers {
		if answers {
			answering++
		}
	}
	return answering, len(r.answers)
}
