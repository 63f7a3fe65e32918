// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// TestFirstPacket is a short run of what the command does.
func TestFirstPacket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a node is made of namespaces: run this as root")
	}
	programs := t.TempDir()
	if err := cluster.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	c := config{
		cni: cluster.PTP, binary: filepath.Join(programs, "bulkhead-enforcer"), chart: "../../charts/bulkhead",
		output: t.TempDir(), scenarios: []string{"none", "nri", "killed"}, pods: 8, atOnce: 8,
	}
	if err := run(t.Context(), c, t.Output()); err != nil {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	if _, err := choose([]string{"nri", "nir"}); err == nil || !strings.Contains(err.Error(), "nir") {
		t.Errorf("a scenario that does not exist: %v", err)
	}
	chosen, err := choose(names())
	if err != nil || len(chosen) != len(scenarios) {
		t.Errorf("all scenarios: %d, %v", len(chosen), err)
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		arrived []uint64
		last    uint64
		want    string
	}{
		{nil, 0, ""},
		{nil, 3, "1-3"},
		{[]uint64{1, 2, 3}, 3, ""},
		{[]uint64{2, 64, 65, 66}, 200, "1-1 3-63 67-200"},
	} {
		var a arrivals
		for _, n := range slices.Concat(c.arrived, c.arrived) { // twice is once
			a.datagram(n)
		}
		if got := a.missing(c.last); got != c.want || a.datagrams != uint64(len(c.arrived)) {
			t.Errorf("%v of %d: missing %q and %d arrived, want %q and %d", c.arrived, c.last, got, a.datagrams, c.want, len(c.arrived))
		}
	}
}

// What must not be is said, and what may be is not.
func TestJudge(t *testing.T) {
	good := sums{name: "pod", sent: 10, arrived: 10, dials: 2, connections: 2, openings: 2}
	with := func(change func(*sums)) sums { s := good; change(&s); return s }
	silent := sums{name: "pod", sent: 10, early: 10, dials: 2}
	for name, c := range map[string]struct {
		scenario  string
		namespace string
		sums      sums
		incoming  uint64
		want      string // part of the finding; empty: none
	}{
		"without an enforcer all arrives":    {"none", denied, good, 1, ""},
		"without an enforcer nothing is cut": {"none", denied, silent, 0, "nothing of namespace denied"},
		"cut off":                            {"nri", denied, silent, 0, ""},
		"never tried":                        {"nri", denied, sums{}, 0, "did not try"},
		"a datagram leaks":                   {"nri", denied, with(func(s *sums) { s.arrived, s.connections, s.openings = 1, 0, 0 }), 0, "1 datagrams, 0 connections"},
		"a SYN leaks":                        {"killed", denied, with(func(s *sums) { s.arrived, s.connections, s.openings = 0, 0, 1 }), 0, "1 TCP openings"},
		"a probe gets in":                    {"nri", denied, silent, 1, "got in to pods that may receive nothing"},
		"allowed":                            {"nri", allowed, good, 1, ""},
		"the first are lost":                 {"nri", allowed, with(func(s *sums) { s.early = 1 }), 1, "first 1 datagrams"},
		"a connection is refused":            {"nri", watched, with(func(s *sums) { s.failed = 1 }), 1, "of 2 dials 1 failed"},
		"a SYN is repeated":                  {"nri", allowed, with(func(s *sums) { s.repeated = 1 }), 1, "1 succeeded, but not at once"},
		"the first are lost until known":     {"killed", allowed, with(func(s *sums) { s.early = 1 }), 1, ""},
		"later ones are lost":                {"killed", allowed, with(func(s *sums) { s.late = 1 }), 1, "lost after the first"},
		"probes reach nobody":                {"nri", allowed, good, 0, "the probes show nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, err := choose([]string{c.scenario})
			if err != nil {
				t.Fatal(err)
			}
			o := outcome{scenario: chosen[0], tallies: []*tally{{namespace: c.namespace, sinks: []sums{c.sums}}}}
			o.tallies[0].incoming.Datagrams, o.tallies[0].incoming.Connections = c.incoming, c.incoming
			o.judge()
			got := strings.Join(o.findings, "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
