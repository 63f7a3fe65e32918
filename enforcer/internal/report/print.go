// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// CheckFormat errs unless format is one that Print knows.
func CheckFormat(format string) error {
	if !slices.Contains([]string{"table", "json", "yaml"}, format) {
		return fmt.Errorf("--output %q is not one of table, json, yaml", format)
	}
	return nil
}

// Print writes the report as a table for people, with ages as of now, or as indented JSON or YAML.
func (r *Report) Print(w io.Writer, format string, now time.Time) error {
	if err := CheckFormat(format); err != nil {
		return err
	}
	return wording.Print(w, format, r, func(w io.Writer, _ bool) error { return r.table(w, now) })
}

// table remembers the first error of writing.
type table struct {
	*tabwriter.Writer
	err error
}

func (t *table) row(format string, args ...any) {
	_, err := fmt.Fprintf(t, format+"\n", args...)
	t.err = errors.Join(t.err, err)
}

func (r *Report) table(w io.Writer, now time.Time) error {
	state := "ready"
	if !r.Ready {
		state = "NOT READY"
	}
	t := &table{Writer: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row("node:\t%s (%s)", r.Node, state)
	t.row("generation:\t%s", r.generation(now))
	t.row("changes:\t%s", r.pending(now))
	t.row("self-test:\t%s", r.SelfTest.text(now))
	t.row("policy sets:\t%d", r.Sets)
	t.row("flows:\t%d seen, %d lost, %d overwritten", r.Flows.Seen, r.Flows.Lost, r.Flows.Overwritten)
	for _, m := range r.Maps {
		t.row("map:\t%s", m.text())
	}
	for _, p := range r.Problems {
		t.row("problem:\t%s", p)
	}
	for _, p := range r.PolicyErrors {
		t.row("policy error:\t%s", p)
	}
	t.err = errors.Join(t.err, t.Flush())
	t.row("\nNAMESPACE\tPOD\tMODE\tSET\tINTERFACE\tATTACHED")
	for _, e := range r.Endpoints {
		t.row("%s\t%s\t%s\t%d\t%d\t%t", e.Namespace, e.Pod, e.Mode, e.Set, e.Ifindex, e.Attached)
	}
	return errors.Join(t.err, t.Flush())
}

func (r *Report) generation(now time.Time) string {
	if r.LoadedAt == nil {
		return "none loaded by this agent yet"
	}
	return fmt.Sprintf("%d, since %s", r.Generation, ago(*r.LoadedAt, now))
}

func (r *Report) pending(now time.Time) string {
	if r.PendingSince == nil {
		return "all enforced"
	}
	return "not all enforced, since " + ago(*r.PendingSince, now)
}

func (s *SelfTest) text(now time.Time) string {
	switch {
	case s == nil:
		return "not ended yet"
	case s.Passed:
		return "passed, " + ago(s.At, now)
	}
	return "FAILED, " + ago(s.At, now)
}

func (m *Map) text() string {
	return fmt.Sprintf("%s: %d of %d (%.0f %%)", m.Name, m.Entries, m.Capacity, 100*float64(m.Entries)/float64(m.Capacity))
}

// ago is a time and how long it has been: 2026-11-21T12:00:00Z (3m20s ago).
func ago(at, now time.Time) string {
	age := now.Sub(at)
	unit := time.Second
	if age < 10*time.Second {
		unit = time.Millisecond
	}
	return fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), age.Round(unit))
}
