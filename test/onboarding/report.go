// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report is all that one run measured.
type report struct {
	Races    []result  `json:"races"`
	Existing *existing `json:"existing,omitempty"` // nil: not measured
}

// result of one race.
type result struct {
	State      string `json:"state"`
	Parallel   int    `json:"parallel"`
	APIServers int    `json:"apiServers"`
	Namespaces int    `json:"namespaces"` // that were to be created
	Restarts   int    `json:"restarts"`   // of the webhook
	Early      int    `json:"earlyPods"`
	// EarlyIn names the namespaces with early pods, for whoever looks for the cause.
	EarlyIn []string `json:"earlyIn,omitempty"`

	P50 float64 `json:"policiesP50Milliseconds"`
	P95 float64 `json:"policiesP95Milliseconds"`
	P99 float64 `json:"policiesP99Milliseconds"`

	RefusedFirst       float64 `json:"refusedFirstShare"` // 0 to 1, of the namespaces that exist
	NoNamespace        int     `json:"noNamespace"`
	NoPod              int     `json:"noPod"`
	NamespacesRefusals int     `json:"namespaceRefusals"`
	Seconds            float64 `json:"seconds"`
}

// existing is how long namespaces took that were there before the webhook.
type existing struct {
	Namespaces int     `json:"namespaces"`
	Seconds    float64 `json:"seconds"` // from the start of the process to the last policy
}

func (r *report) print(out io.Writer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "STATE\tPARALLEL\tAPI SERVERS\tNAMESPACES\tRESTARTS\tEARLY\tPOLICIES P50\tP95\tP99\tREFUSED FIRST\tNO NAMESPACE\tNO POD\tREFUSED NS\tTOTAL\t")
	for _, s := range r.Races {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f%%\t%d\t%d\t%d\t%.1f s\t\n",
			s.State, s.Parallel, s.APIServers, s.Namespaces, s.Restarts, s.Early, s.P50, s.P95, s.P99,
			100*s.RefusedFirst, s.NoNamespace, s.NoPod, s.NamespacesRefusals, s.Seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Existing != nil {
		fmt.Fprintf(out, "%d existing namespaces: all policies %.1f s after the webhook was started\n", r.Existing.Namespaces, r.Existing.Seconds)
	}
	for _, s := range r.Races {
		for _, name := range s.EarlyIn {
			fmt.Fprintf(out, "early: %s\n", name)
		}
	}
	return nil
}

// percentile of sorted durations in milliseconds; 0 where there are none.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[(len(sorted)-1)*p/100].Microseconds()) / 1000
}

// latencies fills in the percentiles.
func (s *result) latencies(took []time.Duration) {
	slices.Sort(took)
	s.P50, s.P95, s.P99 = percentile(took, 50), percentile(took, 95), percentile(took, 99)
}
