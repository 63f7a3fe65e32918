// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

var onboardingSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
	Name:    "bulkhead_onboarding_seconds",
	Help:    "From the moment a new namespace is seen to the moment both baseline policies exist.",
	Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), // 1 ms to 8 s
})

var dnsFound = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "bulkhead_dns_found",
	Help: "1: the cluster's DNS was found, or is named by flags. 0: it was not, and policies allow the usual DNS pods.",
})

func init() { metrics.Registry.MustRegister(onboardingSeconds, dnsFound) }

func reportDNS(targets baseline.DNSTargets) {
	if targets.Assumed == "" {
		dnsFound.Set(1)
	} else {
		dnsFound.Set(0)
	}
}

// arrivals remembers when namespaces were first seen, until their policies exist. It is bounded by
// the namespaces that are being onboarded.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func newArrivals() *arrivals { return &arrivals{seen: map[string]time.Time{}} }

func (a *arrivals) note(namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[namespace] = time.Now()
}

// waits reports whether a namespace was noted and has not been onboarded yet.
func (a *arrivals) waits(namespace string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.seen[namespace]
	return ok
}

func (a *arrivals) forget(namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, namespace)
}

// settle drops a namespace that has its policies, and records the latency if they were applied now.
func (a *arrivals) settle(namespace string, applied bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since, ok := a.seen[namespace]; ok && applied {
		onboardingSeconds.Observe(time.Since(since).Seconds())
	}
	delete(a.seen, namespace)
}
