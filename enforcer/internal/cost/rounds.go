// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
)

// rounds are rates a second, of the same round at the same place.
type rounds struct {
	with, without []float64
}

// row is the rest of a row of the table.
func (r rounds) row(w workload) string {
	ratios := make([]float64, len(r.with))
	for i := range ratios {
		ratios[i] = 100 * r.with[i] / r.without[i]
	}
	low, high := confidence(ratios)
	return fmt.Sprintf("%.1f | %.1f %s | %.1f %% | %.1f to %.1f | %.0f %% | %s |",
		median(r.without)/w.scale, median(r.with)/w.scale, w.unit, median(ratios), low, high, w.target, verdict(low, high, w.target))
}

// verdict on an interval that the true value is in.
func verdict(low, high, target float64) string {
	switch {
	case low >= target:
		return "met"
	case high < target:
		return "not met"
	}
	return "undecided"
}

// median of values that are not empty.
func median[T float64 | int64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// confidence is the interval that the median of what was drawn from is in, with 95 %: between two of the sorted
// values, of which the binomial distribution says how many are below it. It assumes nothing about how values are
// distributed.
func confidence(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	below := int(math.Floor((n - 1.96*math.Sqrt(n)) / 2))
	below = max(0, below)
	return sorted[below], sorted[len(sorted)-1-below]
}
