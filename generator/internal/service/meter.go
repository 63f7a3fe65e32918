// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
)

// meter counts what the service does, and knows whether it is ready.
type meter struct {
	registry               *prometheus.Registry
	flows, malformed, lost prometheus.Counter
	edges                  prometheus.Gauge
	proposals, rounds      *prometheus.CounterVec
	policies, drift        *prometheus.CounterVec
	failures               *prometheus.CounterVec
	roster                 *roster
	ready                  atomic.Bool // the first sync round was made
}

func newMeter() *meter {
	m := &meter{
		registry:  prometheus.NewRegistry(),
		flows:     counter("flows_total", "Flows read from observers."),
		malformed: counter("flows_malformed_total", "Flows that could not be read."),
		lost:      counter("flows_lost_total", "Flows that observers lost, or that did not fit."),
		edges:     prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "edges", Help: "Distinct edges seen."}),
		proposals: vector("proposals_total", "Proposals by result: committed, unchanged or failed.", "result"),
		rounds:    vector("rounds_total", "Rounds of proposing and syncing by result: ok or failed.", "round", "result"),
		policies:  vector("synced_policies_total", "Policies synced by what was done: applied, pruned or unchanged.", "action"),
		failures:  vector("observer_failures_total", "Failures of observers by what failed: lookup of the name, or stream of one address.", "observer", "what"),
		roster:    newRoster(),
		drift:     vector("drift_total", "Differences found between the cluster and Git, by kind.", "what"),
	}
	m.registry.MustRegister(m.flows, m.malformed, m.lost, m.edges, m.proposals, m.rounds, m.policies, m.drift, m.failures, m.roster.up)
	return m
}

const prefix = "bulkhead_generator_"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func vector(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

func (m *meter) round(name string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.rounds.WithLabelValues(name, result).Inc()
	if name == "sync" && err == nil {
		m.ready.Store(true)
	}
}

func (m *meter) proposed(o Outcome) {
	result := "unchanged"
	switch {
	case o.Error != "":
		result = "failed"
	case o.Commit != "":
		result = "committed"
	}
	m.proposals.WithLabelValues(result).Inc()
}

func (m *meter) synced(r apply.Result) {
	m.policies.WithLabelValues("applied").Add(float64(len(r.Applied)))
	m.policies.WithLabelValues("pruned").Add(float64(len(r.Pruned)))
	m.policies.WithLabelValues("unchanged").Add(float64(len(r.Unchanged)))
	for _, d := range r.Drift {
		m.drift.WithLabelValues(d.What).Inc()
	}
}

func (m *meter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answering, all := m.roster.count()
		switch {
		case !m.ready.Load():
			http.Error(w, "no sync has succeeded yet", http.StatusServiceUnavailable)
		case answering == 0:
			http.Error(w, fmt.Sprintf("none of %d observers answers; the log says why", all), http.StatusServiceUnavailable)
		default:
			fmt.Fprintf(w, "ok, %d of %d observers answer\n", answering, all)
		}
	})
	return mux
}
