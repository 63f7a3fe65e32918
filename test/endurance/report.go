// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is all that one run measured.
type report struct {
	Results []*result `json:"results"`
}

// result is what came of one scenario.
type result struct {
	Scenario string  `json:"scenario"`
	Seconds  float64 `json:"seconds"`
	Allowed  int     `json:"allowed"` // packets and connections that must arrive
	Denied   int     `json:"denied"`
	Leaked   int     `json:"leaked"`
	Dropped  int     `json:"dropped"`
	Broken   int     `json:"broken"`
	// Notes are what else was measured, and Examples the first of what went wrong.
	Notes    []string `json:"notes,omitempty"`
	Examples []string `json:"examples,omitempty"`
	// Wrong is what the enforcer did not do, beside the counts.
	Wrong []string  `json:"wrong,omitempty"`
	Times []*timing `json:"times,omitempty"`

	control bool
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *result) fail(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

// isWrong reports whether something happened that must not, or of a control, that nothing was noticed.
func (r *result) isWrong() bool {
	faults := r.Leaked + r.Dropped + r.Broken
	return len(r.Wrong) > 0 || (faults > 0) != r.control ||
		slices.ContainsFunc(r.Times, func(t *timing) bool { return t.tooSlow() })
}

func (r *report) wrong() bool { return slices.ContainsFunc(r.Results, (*result).isWrong) }

func (r *result) line() string {
	return fmt.Sprintf("%d allowed and %d denied in %.0f s: %d leaked, %d dropped, %d broken",
		r.Allowed, r.Denied, r.Seconds, r.Leaked, r.Dropped, r.Broken)
}

// timing is a distribution of times.
type timing struct {
	What   string  `json:"what"`
	Count  int     `json:"count"`
	P50    float64 `json:"p50Milliseconds"`
	P99    float64 `json:"p99Milliseconds"`
	Max    float64 `json:"maxMilliseconds"`
	Target float64 `json:"targetMilliseconds,omitempty"` // of the 99th percentile; 0: none
	Bins   []int   `json:"histogram"`                    // up to 1, 2, 4 ... ms
	took   []time.Duration
}

func newTiming(what string, target time.Duration, took []time.Duration) *timing {
	t := &timing{What: what, Count: len(took), Target: milliseconds(target), took: slices.Sorted(slices.Values(took))}
	t.P50, t.P99, t.Max = t.percentile(50), t.percentile(99), t.percentile(100)
	for _, d := range t.took {
		bin := 0
		for limit := time.Millisecond; d > limit; limit *= 2 {
			bin++
		}
		for len(t.Bins) <= bin {
			t.Bins = append(t.Bins, 0)
		}
		t.Bins[bin]++
	}
	return t
}

func (t *timing) tooSlow() bool { return t.Target > 0 && t.P99 > t.Target }

// percentile in milliseconds, rounded up to one that was measured; 0 where there are none.
func (t *timing) percentile(p int) float64 {
	if len(t.took) == 0 {
		return 0
	}
	return milliseconds(t.took[(len(t.took)*p+99)/100-1])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *timing) histogram() string {
	var parts []string
	for i, n := range t.Bins {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("≤%d ms: %d", 1<<i, n))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *report) print(out io.Writer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "SCENARIO\tALLOWED\tDENIED\tLEAKED\tDROPPED\tBROKEN\tTIME\t")
	for _, s := range r.Results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f s\t\n", s.Scenario, s.Allowed, s.Denied, s.Leaked, s.Dropped, s.Broken, s.Seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.Results {
		for _, t := range s.Times {
			fmt.Fprintf(out, "%s: %s: p50 %.1f ms, p99 %.1f ms, longest %.1f ms of %d (%s)\n", s.Scenario, t.What, t.P50, t.P99, t.Max, t.Count, t.histogram())
			if t.tooSlow() {
				fmt.Fprintf(out, "%s: WRONG: p99 may be %.0f ms\n", s.Scenario, t.Target)
			}
		}
		for _, text := range s.Notes {
			fmt.Fprintf(out, "%s: %s\n", s.Scenario, text)
		}
		for _, text := range append(s.Wrong, s.Examples...) {
			fmt.Fprintf(out, "%s: WRONG: %s\n", s.Scenario, text)
		}
	}
	return nil
}
