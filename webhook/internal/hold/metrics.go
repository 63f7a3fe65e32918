// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// How a wait ended: the policies came, they did not come in time, or too many waited already.
const (
	complete = "complete"
	timeout  = "timeout"
	full     = "full"
)

var seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "bulkhead_pod_hold_seconds",
	Help:    "How long pods waited for the baseline policies of their namespace, by how the wait ended: complete, timeout, or full (too many waited already). Pods whose policies were there are not counted.",
	Buckets: prometheus.ExponentialBuckets(0.001, 2, 11), // 1 ms to 1 s
}, []string{"result"})

func init() { metrics.Registry.MustRegister(seconds) }
