// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

// meter counts what the service does, and knows whether it is ready.
type meter struct {
	registry               *prometheus.Registry
	flows, malformed, lost prometheus.Counter
	ignored, lostAt        *prometheus.CounterVec
	places                 map[[2]string]bool // of lostAt
	placing                sync.Mutex         // of places
	missing                prometheus.Gauge
	waiting                prometheus.Gauge
	settled                *prometheus.CounterVec
	forgotten, restarts    prometheus.Counter
	watchFailures          *prometheus.CounterVec
	watchUp                *prometheus.GaugeVec
	edges, leftOut         prometheus.Gauge
	expired, changes       prometheus.Counter
	commits                *prometheus.CounterVec
	proposals, rounds      *prometheus.CounterVec
	policies, drift        *prometheus.CounterVec
	failures               *prometheus.CounterVec
	roster                 *roster
	ready                  atomic.Bool // the first sync round was made
}

func newMeter() *meter {
	m := &meter{
		registry:      prometheus.NewRegistry(),
		flows:         counter("flows_total", "Flows read from observers."),
		malformed:     counter("flows_malformed_total", "Flows that could not be read."),
		lost:          counter("flows_lost_total", "Flows that observers lost."),
		ignored:       vector("flows_ignored_total", "Records that say nothing about policies, by kind: icmp, application, socket or other.", "kind"),
		lostAt:        vector("flows_lost_at_total", "Flows that observers lost, by node and by the observer's queue; both are empty for what has no place among the first 1,000.", "node", "queue"),
		places:        map[[2]string]bool{},
		missing:       gauge("flows_missing_ratio", "Part of all flows that is missing, from 0 to 1: within the last seven days, or the last two if these are worse. Above --max-loss nothing is proposed."),
		waiting:       gauge("flows_waiting", "Flows with an address that waits for a newer inventory, to know whose it was."),
		settled:       vector("flows_settled_total", "Flows that waited, by whose the address was, about: pod, address (no pod's), ambiguous, or unwatched (it could be a pod's that was not seen).", "as"),
		forgotten:     counter("flows_forgotten_total", "Flows, and objects watched, that named a pod or address when too many were remembered already: their addresses stay ambiguous."),
		restarts:      counter("watch_restarts_total", "Times a watch of pods or Services began anew: what came and went in between was not seen, and addresses that could be its are listed."),
		watchFailures: vector("watch_failures_total", "Failures of watches of the API server, by resource.", "resource"),
		watchUp:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "watch_up", Help: "1: the API server is watched; 0: it is not, or the watch begins anew, by resource."}, []string{"resource"}),
		edges:         gauge("edges", "Distinct edges kept."),
		leftOut:       gauge("edges_left_out", "Edges seen that are not kept because there are too many of their kind, about. The log says which."),
		expired:       counter("edges_expired_total", "Edges forgotten because they were not seen for the retention."),
		changes:       counter("state_changes_total", "Edges written to the state file."),
		commits:       vector("state_commits_total", "Commits to the state file by result: ok or failed.", "result"),
		proposals:     vector("proposals_total", "Proposals by result: committed, unchanged or failed.", "result"),
		rounds:        vector("rounds_total", "Rounds of proposing, syncing and reading the inventory by result: ok or failed.", "round", "result"),
		policies:      vector("synced_policies_total", "Policies synced by what was done: applied, pruned or unchanged.", "action"),
		failures:      vector("observer_failures_total", "Failures of observers by what failed: lookup of the name, or stream of one address.", "observer", "what"),
		roster:        newRoster(),
		drift:         vector("drift_total", "Differences found between the cluster and Git, by kind.", "what"),
	}
	m.registry.MustRegister(m.flows, m.malformed, m.lost, m.ignored, m.lostAt, m.missing, m.waiting, m.settled, m.forgotten, m.restarts, m.watchFailures, m.watchUp, m.edges, m.leftOut, m.expired, m.changes, m.commits, m.proposals, m.rounds, m.policies, m.drift, m.failures, m.roster.up)
	return m
}

const prefix = "bulkhead_generator_"

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func vector(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

// committed takes the store's figures, before a commit and after it.
func (m *meter) committed(before, after store.Stats, err error) {
	m.edges.Set(float64(after.Edges))
	m.leftOut.Set(float64(after.LeftOut))
	m.expired.Add(float64(after.Expired - before.Expired))
	m.changes.Add(float64(after.Changes - before.Changes))
	m.commits.WithLabelValues(resultOf(err)).Inc()
}

// tracked takes the tracker's figures, those of the last time and those of now.
func (m *meter) tracked(before, after inventory.Figures) {
	m.waiting.Set(float64(after.Waiting))
	m.settled.WithLabelValues("pod").Add(float64(after.Attributed - before.Attributed))
	m.settled.WithLabelValues("address").Add(float64(after.Addresses - before.Addresses))
	m.settled.WithLabelValues("ambiguous").Add(float64(after.Ambiguous - before.Ambiguous))
	m.settled.WithLabelValues("unwatched").Add(float64(after.Unwatched - before.Unwatched))
	m.restarts.Add(float64(after.Restarts - before.Restarts))
	m.forgotten.Add(float64(after.Forgotten - before.Forgotten))
}

// maxPlaces bounds the places of losses that are metrics of their own.
const maxPlaces = 1000

func (m *meter) missed(s *flows.Stats) {
	m.lost.Add(float64(s.Lost))
	m.malformed.Add(float64(s.Malformed))
	m.ignored.WithLabelValues("icmp").Add(float64(s.IgnoredAs.ICMP))
	m.ignored.WithLabelValues("application").Add(float64(s.IgnoredAs.Application))
	m.ignored.WithLabelValues("socket").Add(float64(s.IgnoredAs.Socket))
	m.ignored.WithLabelValues("other").Add(float64(s.IgnoredAs.Other))
	for _, at := range s.LostAt() {
		node, queue := m.place(at.Source)
		m.lostAt.WithLabelValues(node, queue).Add(float64(at.Lost))
	}
}

// place gives a place of losses its labels, which must be text.
func (m *meter) place(s flows.Source) (node, queue string) {
	m.placing.Lock()
	defer m.placing.Unlock()
	at := [2]string{strings.ToValidUTF8(s.Node, "?"), strings.ToValidUTF8(s.Queue, "?")}
	if !m.places[at] && len(m.places) >= maxPlaces {
		return "", ""
	}
	m.places[at] = true
	return at[0], at[1]
}

func resultOf(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

func (m *meter) round(name string, err error) {
	m.rounds.WithLabelValues(name, resultOf(err)).Inc()
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
