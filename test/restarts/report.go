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
	Phases []phase `json:"phases"`
}

// phase is what came of all restarts by one signal.
type phase struct {
	Signal   string `json:"signal"`
	Restarts int    `json:"restarts"`
	Requests int    `json:"requests"`
	Admitted int    `json:"violatingAdmitted"`
	Refused  int    `json:"validRefused"`
	NoAnswer int    `json:"noAnswer"`
	// Examples are the first messages of what went wrong.
	Examples []string `json:"examples,omitempty"`

	ReadyP50       float64 `json:"readyP50Milliseconds"` // from the start of a process until it is ready
	ReadyP95       float64 `json:"readyP95Milliseconds"`
	LongestFailing float64 `json:"longestFailingMilliseconds"` // of one restart
	Seconds        float64 `json:"seconds"`
}

// wrong reports whether something happened that must not.
func (r *report) wrong() bool {
	return slices.ContainsFunc(r.Phases, func(p phase) bool {
		return p.Admitted > 0 || p.Signal == sigterm && p.Refused+p.NoAnswer > 0
	})
}

func (r *report) print(out io.Writer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "SIGNAL\tRESTARTS\tREQUESTS\tADMITTED\tREFUSED\tNO ANSWER\tLONGEST\tREADY P50\tP95\tTOTAL\t")
	for _, p := range r.Phases {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f ms\t%.0f ms\t%.0f ms\t%.1f s\t\n",
			p.Signal, p.Restarts, p.Requests, p.Admitted, p.Refused, p.NoAnswer, p.LongestFailing, p.ReadyP50, p.ReadyP95, p.Seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range r.Phases {
		for _, example := range p.Examples {
			fmt.Fprintf(out, "%s: %s\n", p.Signal, example)
		}
	}
	return nil
}

// percentile of durations in milliseconds; 0 where there are none.
func percentile(took []time.Duration, p int) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return milliseconds(sorted[(len(sorted)-1)*p/100])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
