// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

const prefix = "bulkhead_enforcer_"

// metrics are what the agent counts itself; see sampled for what it reads when it is asked.
type metrics struct {
	registry       *prometheus.Registry
	endpoints      prometheus.Gauge
	policyErrors   prometheus.Gauge
	updates        prometheus.Histogram
	updateFailures prometheus.Counter
	flows          *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		endpoints: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "endpoints", Help: "Interfaces of pods of this node that packets are judged at.",
		}),
		policyErrors: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "policy_errors", Help: "Faults of policies; what they concern matches nothing.",
		}),
		updates: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "update_duration_seconds", Help: "From the first change to its being enforced.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		updateFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "update_failures_total", Help: "Updates that could not be made completely; they are tried again.",
		}),
		flows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "flows_total", Help: "Records of connections, by verdict.",
		}, []string{"verdict"}),
	}
	m.registry.MustRegister(m.endpoints, m.policyErrors, m.updates, m.updateFailures, m.flows,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) updated(took time.Duration, problems int) {
	if problems > 0 {
		m.updateFailures.Inc()
		return
	}
	m.updates.Observe(took.Seconds())
}

// sampled are metrics that live elsewhere and are read when they are asked for.
type sampled struct {
	state     *state
	ring      *observer.Ring
	dataplane *dataplane.Dataplane
}

var (
	generationDesc = prometheus.NewDesc(prefix+"generation", "Generation of the policies that packets are judged by.", nil, nil)
	readyDesc      = prometheus.NewDesc(prefix+"ready", "1 if everything of this node is enforced as the API server says.", nil, nil)
	lostDesc       = prometheus.NewDesc(prefix+"flows_lost_total", "Records of connections that were lost, by where.", []string{"where"}, nil)
	packetsDesc    = prometheus.NewDesc(prefix+"packets_total", "Packets, by what became of them and why.", []string{"verdict", "reason"}, nil)
)

// Describe lists the metrics.
func (s sampled) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{generationDesc, readyDesc, lostDesc, packetsDesc} {
		ch <- d
	}
}

// Collect reads them.
func (s sampled) Collect(ch chan<- prometheus.Metric) {
	r, stats := s.state.current(), s.ring.Stats()
	ready := 0.0
	if r.Ready {
		ready = 1
	}
	ch <- prometheus.MustNewConstMetric(generationDesc, prometheus.GaugeValue, float64(r.Generation))
	ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(stats.Lost), "kernel")
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(stats.Overwritten), "buffer")
	counters, err := s.dataplane.Counters()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(packetsDesc, err)
		return
	}
	for verdict, byReason := range map[string]map[dataplane.Reason]uint64{"passed": counters.Passed, "dropped": counters.Dropped} {
		for reason, n := range byReason {
			ch <- prometheus.MustNewConstMetric(packetsDesc, prometheus.CounterValue, float64(n), verdict, reason.String())
		}
	}
}
