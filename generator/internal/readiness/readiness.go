// SPDX-License-Identifier: Apache-2.0

// Package readiness estimates how much of what workloads do was not observed yet, and says whether their policies can be
// enforced.
package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Thresholds are what a namespace must be past to be ready.
type Thresholds struct {
	Days     int     // of observation
	Coverage float64 // that each workload reaches, from 0 to 1
}

// DefaultThresholds see each day of the week once.
func DefaultThresholds() Thresholds { return Thresholds{Days: 7, Coverage: 0.95} }

// lately is how old a connection must be to be no news.
const lately = 24 * time.Hour

// Report says how completely a namespace was observed.
type Report struct {
	Ready bool `json:"ready"`
	// Why not: what holds for the namespace. Each workload has reasons of its own.
	Why       []string   `json:"why"`
	Days      int        `json:"days"` // observed
	Workloads []Workload `json:"workloads"`
}

// Workload says how completely one workload was observed.
type Workload struct {
	Workload    string    `json:"workload"`
	Ready       bool      `json:"ready"`
	Why         []string  `json:"why"` // not
	Since       time.Time `json:"since,omitzero"`
	Last        time.Time `json:"last,omitzero"` // zero: it was silent
	Silent      bool      `json:"silent"`        // no connection was learned of it, in any direction
	Connections int       `json:"connections"`   // in governed directions
	New         int       `json:"new"`           // connections that were first seen within a day of the end
	// Coverage estimates how much of what the workload does on a day is of connections that were seen, from 0 to 1
	// (Good–Turing, by days; of one day it says nothing, and is 0); Unseen how many connections were not seen yet (a lower bound, Chao2).
	Coverage float64 `json:"coverage"`
	Unseen   float64 `json:"unseen"`
}

// Judge reports on a namespace with what was learned of it. What is counted and estimated is of the governed directions:
// the others shall stay as they are. Workloads on their nodes' network are left out: no policy governs them.
func Judge(namespace string, governed baseline.Directions, connections []evidence.Connection, inv *inventory.Inventory, span evidence.Span, t Thresholds) *Report {
	r := &Report{Why: []string{}, Days: span.Days(), Workloads: []Workload{}}
	if inv.Learned() != nil {
		r.Why = append(r.Why, "there was no inventory, so that workloads that were silent are not known")
	}
	if r.Days < t.Days {
		r.Why = append(r.Why, fmt.Sprintf("observed on %d of %d days", r.Days, t.Days))
	}
	all, by := map[edge.Endpoint][]*evidence.Connection{}, map[edge.Endpoint][]*evidence.Connection{} // of the namespace
	for i := range connections {
		c := &connections[i]
		enters, leaves := c.To.Namespace == namespace, c.From.Namespace == namespace
		if leaves {
			all[c.From] = append(all[c.From], c)
		}
		if leaves && governed.Egress {
			by[c.From] = append(by[c.From], c)
		}
		if enters && c.To != c.From {
			all[c.To] = append(all[c.To], c)
		}
		if enters && governed.Ingress && !(governed.Egress && c.To == c.From) {
			by[c.To] = append(by[c.To], c)
		}
	}
	r.Ready = len(r.Why) == 0
	for _, w := range inv.Workloads() {
		if w.Namespace == namespace && !w.HostNetwork() {
			judged := judge(w, all[w.Endpoint()], by[w.Endpoint()], span, t)
			r.Ready = r.Ready && judged.Ready
			r.Workloads = append(r.Workloads, judged)
		}
	}
	return r
}

// Silent are the workloads of which no connection was learned.
func (r *Report) Silent() []string {
	var out []string
	for _, w := range r.Workloads {
		if w.Silent {
			out = append(out, w.Workload)
		}
	}
	return out
}

// judge takes all connections of a workload, and those of them in governed directions.
func judge(w *inventory.Workload, all, connections []*evidence.Connection, span evidence.Span, t Thresholds) Workload {
	out := Workload{Workload: w.Endpoint().String(), Why: []string{}, Silent: len(all) == 0, Connections: len(connections)}
	for _, c := range all {
		if out.Since.IsZero() || c.Evidence.First.Before(out.Since) {
			out.Since = c.Evidence.First
		}
		if c.Evidence.Last.After(out.Last) {
			out.Last = c.Evidence.Last
		}
	}
	var once, twice, sum int
	for _, c := range connections {
		e := c.Evidence
		if span.Last.Sub(e.First) < lately {
			out.New++
		}
		days := e.Days.Len()
		sum += days
		switch days {
		case 1:
			once++
		case 2:
			twice++
		}
	}
	out.Coverage, out.Unseen = estimate(once, twice, sum, span.Days())
	switch {
	case out.Silent && w.Schedule != nil:
		out.Why = append(out.Why, notRunYet(w.Schedule, span.Last))
	case out.Silent && len(w.Pods) > 0:
		out.Why = append(out.Why, "no connection was learned of it: the baseline would isolate it")
	case len(connections) > 0 && out.Coverage < t.Coverage && span.Days() > 1:
		why := fmt.Sprintf("an estimated %.1f %% of what it does was seen, %.0f %% are wanted", 100*out.Coverage, 100*t.Coverage)
		if out.Unseen >= 0.5 {
			why += fmt.Sprintf("; about %.0f connections are unseen", out.Unseen)
		}
		out.Why = append(out.Why, why)
	}
	if out.New > 0 && span.Days() > 1 {
		out.Why = append(out.Why, fmt.Sprintf("%d of %d connections are new within the last day", out.New, len(connections)))
	}
	out.Ready = len(out.Why) == 0
	return out
}

// estimate takes the numbers of connections seen on one day and on two, the sum of the days of all, and the number of
// days observed. The first result is Good and Turing's coverage for incidences on days, the second Chao's estimate of
// what is unseen.
func estimate(once, twice, all, days int) (coverage, unseen float64) {
	if all == 0 {
		return 0, 0
	}
	q1, q2, t := float64(once), float64(twice), float64(days)
	coverage = 1
	if once > 0 {
		// With one day all was seen once, and nothing can be said.
		coverage = 1 - q1/float64(all)*((t-1)*q1+1)/((t-1)*q1+2*q2+1)
	}
	return coverage, max(t-1, 0) / max(t, 1) * q1 * max(q1-1, 0) / (2 * (q2 + 1))
}

// notRunYet says when what runs by the clock will be seen.
func notRunYet(s *inventory.Schedule, now time.Time) string {
	text := fmt.Sprintf("it runs at %q and was not seen yet", s.Cron)
	if s.Suspended {
		return text + ": it is suspended"
	}
	zone, err := time.LoadLocation(cmp.Or(s.TimeZone, "UTC"))
	if err != nil {
		return text
	}
	schedule, err := cron.ParseStandard(s.Cron)
	if err != nil {
		return text
	}
	next := schedule.Next(now.In(zone))
	if next.IsZero() {
		return text + ": it never will"
	}
	return text + ": next at " + next.UTC().Format(time.RFC3339)
}

// Summary is the report in a line: ready, or what is to be waited for, the namespace's reasons first.
func (r *Report) Summary() string {
	if r.Ready {
		return fmt.Sprintf("ready to be enforced: observed on %d days", r.Days)
	}
	reasons := slices.Clone(r.Why)
	for _, w := range r.Workloads {
		for _, why := range w.Why {
			reasons = append(reasons, w.Workload+": "+why)
		}
	}
	const shown = 5
	text := "not ready to be enforced"
	for i, reason := range reasons[:min(shown, len(reasons))] {
		text += map[bool]string{true: ": ", false: "; "}[i == 0] + reason
	}
	if more := len(reasons) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more reasons", more)
	}
	return text
}
