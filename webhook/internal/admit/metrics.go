// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// controller-runtime counts reviews as well, with bounds of 1, 10 and 100 ms, and without the time that a
// review waits for others.
var seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "bulkhead_review_seconds",
	Help:    "From the first byte of an admission review to the last of the answer, by path. A pod that waits for its policies is in /hold.",
	Buckets: []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2},
}, []string{"path"})

func init() { metrics.Registry.MustRegister(seconds) }
