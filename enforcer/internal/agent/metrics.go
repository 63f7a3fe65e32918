// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/reject"
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
	connections    *prometheus.CounterVec
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
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "connections_total", Help: "Connections that were opened, by verdict; of denied ones the packets that were dropped.",
		}, []string{"verdict"}),
	}
	m.registry.MustRegister(m.endpoints, m.policyErrors, m.updates, m.updateFailures, m.flows, m.connections,
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

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	generationDesc = describe("generation", "Generation of the policies that packets are judged by.")
	readyDesc      = describe("ready", "1 if everything of this node is enforced as the API server says.")
	selfTestDesc   = describe("self_test_passed", "1 if the last self-test passed; 0 if it failed or none has ended yet.")
	lagDesc        = describe("generation_lag_seconds", "Age of the oldest change of an object that is not enforced yet; 0 if all are.")
	updatedDesc    = describe("last_update_timestamp_seconds", "When everything was last as the API server says, in Unix time; 0: not yet.")
	lostDesc       = describe("flows_lost_total", "Records of connections that were lost, by where.", "where")
	fillDesc       = describe("map_fill_ratio", "How full a map of the datapath is, 0 to 1.", "map")
	packetsDesc    = describe("packets_total", "Packets, by what became of them and why.", "verdict", "reason")
)

// Describe lists the metrics.
func (s sampled) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{generationDesc, readyDesc, selfTestDesc, lagDesc, updatedDesc, lostDesc, fillDesc, packetsDesc} {
		ch <- d
	}
}

// Collect reads them.
func (s sampled) Collect(ch chan<- prometheus.Metric) {
	r, stats := s.state.current(), s.ring.Stats()
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(generationDesc, float64(r.Generation))
	gauge(readyDesc, oneIf(r.Ready))
	gauge(selfTestDesc, oneIf(r.SelfTest != nil && r.SelfTest.Passed))
	lag, updated := 0.0, 0.0
	if r.PendingSince != nil {
		lag = time.Since(*r.PendingSince).Seconds()
	}
	if r.UpdatedAt != nil {
		updated = float64(r.UpdatedAt.UnixMilli()) / 1000
	}
	gauge(lagDesc, lag)
	gauge(updatedDesc, updated)
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(stats.Lost), "kernel")
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(stats.Overwritten), "buffer")
	s.collectFill(ch)
	s.collectPackets(ch)
}

func (s sampled) collectFill(ch chan<- prometheus.Metric) {
	usage, err := s.dataplane.Usage()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(fillDesc, err)
		return
	}
	for _, u := range usage {
		ch <- prometheus.MustNewConstMetric(fillDesc, prometheus.GaugeValue, float64(u.Entries)/float64(u.Capacity), u.Name)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (s sampled) collectPackets(ch chan<- prometheus.Metric) {
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

// runtimeMetrics are about the container runtime, which holds new pods back.
type runtimeMetrics struct{ plugin *nri.Plugin }

var (
	connectedDesc = describe("nri_connected", "1 if the container runtime holds new pods back until their policies are loaded.")
	sandboxesDesc = describe("sandboxes_total", "New pods that the container runtime held back: ready in time, late (let go with their packets dropped until they are known), or failed.", "result")
)

// Describe lists the metrics.
func (r runtimeMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectedDesc
	ch <- sandboxesDesc
}

// Collect reads them.
func (r runtimeMetrics) Collect(ch chan<- prometheus.Metric) {
	stats := r.plugin.Stats()
	ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, oneIf(stats.Connected))
	for result, n := range map[string]uint64{"ready": stats.Answered, "late": stats.Late, "failed": stats.Failed} {
		ch <- prometheus.MustNewConstMetric(sandboxesDesc, prometheus.CounterValue, float64(n), result)
	}
}

// answers are those to denied packets.
type answers struct{ responder *reject.Responder }

var answersDesc = describe("answers_total", "Denied packets that were to be answered, by result.", "result")

// Describe lists the metrics.
func (a answers) Describe(ch chan<- *prometheus.Desc) { ch <- answersDesc }

// Collect reads them.
func (a answers) Collect(ch chan<- prometheus.Metric) {
	c := a.responder.Counts()
	for result, n := range map[string]uint64{"answered": c.Answered, "unanswerable": c.Unanswerable, "late": c.Late, "failed": c.Failed} {
		ch <- prometheus.MustNewConstMetric(answersDesc, prometheus.CounterValue, float64(n), result)
	}
}
