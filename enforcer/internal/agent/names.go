// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/attribution"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
)

// namer notes what the cluster's DNS told pods that addresses are called, for flows to be named by.
type namer struct {
	shared
	answers *dataplane.Answers
	counts  nameCounts
}

// newNamer returns nil if no names are wanted; then the datapath does not tell any.
func newNamer(s shared, config Config) (*namer, error) {
	if !config.DNSNames {
		return nil, s.dataplane.SetResolvers(nil)
	}
	answers, err := s.dataplane.Answers()
	if err != nil {
		return nil, err
	}
	return &namer{shared: s, answers: answers}, nil
}

// nameCounts are answers by what they were good for.
type nameCounts struct{ noted, empty, malformed atomic.Uint64 }

// run notes names until ctx ends. Names are hints: if they cannot be read any more, the agent goes on without.
func (n *namer) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { n.answers.Close() })
	defer stop()
	defer n.answers.Close()
	for {
		a, err := n.answers.Next()
		switch {
		case errors.Is(err, dataplane.ErrClosed):
			return
		case errors.Is(err, dataplane.ErrAnswer):
			n.counts.malformed.Add(1)
		case err != nil:
			n.log.Error("flows lack names of DNS from now on", "error", err)
			return
		default:
			n.note(a)
		}
	}
}

// note logs nothing: what pods are answered is not the node's concern, and there may be much of it.
func (n *namer) note(a dataplane.Answer) {
	answer, err := names.Parse(a.Message, a.Cut)
	switch {
	case errors.Is(err, names.ErrMalformed):
		n.counts.malformed.Add(1)
	case err != nil:
		n.counts.empty.Add(1)
	default:
		n.counts.noted.Add(1)
		n.book.Named(a.Ifindex, answer, time.Now())
	}
}

// nameMetrics are about names of DNS; namer is nil if none are noted.
type nameMetrics struct {
	namer     *namer
	book      *attribution.Book
	dataplane *dataplane.Dataplane
}

var (
	dnsAnswersDesc = describe("dns_answers_total", "Answers of the cluster's DNS to pods, by what became of the names in them.", "result")
	dnsNamesDesc   = describe("dns_names", "Names of addresses that are kept for flows, of all pods.")
	dnsEvictedDesc = describe("dns_names_evicted_total", "Names of addresses that made room for others before their end.")
)

// Describe lists the metrics.
func (m nameMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{dnsAnswersDesc, dnsNamesDesc, dnsEvictedDesc} {
		ch <- d
	}
}

// Collect reads them.
func (m nameMetrics) Collect(ch chan<- prometheus.Metric) {
	held, evicted := m.book.NameCounts()
	ch <- prometheus.MustNewConstMetric(dnsNamesDesc, prometheus.GaugeValue, float64(held))
	ch <- prometheus.MustNewConstMetric(dnsEvictedDesc, prometheus.CounterValue, float64(evicted))
	counters, err := m.dataplane.Counters()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(dnsAnswersDesc, err)
		return
	}
	results := map[string]uint64{"suppressed": counters.SuppressedAnswers, "lost": counters.LostAnswers}
	if m.namer != nil {
		c := &m.namer.counts
		results["noted"], results["empty"], results["malformed"] = c.noted.Load(), c.empty.Load(), c.malformed.Load()
	}
	for result, n := range results {
		ch <- prometheus.MustNewConstMetric(dnsAnswersDesc, prometheus.CounterValue, float64(n), result)
	}
}
