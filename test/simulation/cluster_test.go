// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"net/netip"
	"testing"
	"time"
)

// TestAddresses: an address has one pod at a time, and the next a second later at the earliest; some have a next one.
func TestAddresses(t *testing.T) {
	for _, name := range Names() {
		c := clusterOf(t, name, Options{Rollouts: 3})
		last, reused := map[netip.Addr]*pod{}, 0
		for _, p := range c.pods { // in order of start
			if p.hostNetwork() {
				continue
			}
			before := last[p.addr]
			last[p.addr] = p
			if before == nil {
				continue
			}
			reused++
			if gap := p.start.Sub(before.end); gap < reuse {
				t.Errorf("%s: %s got %s %s after %s had it", name, p.name, p.addr, gap, before.name)
			}
		}
		if reused == 0 {
			t.Errorf("%s: no address was given to a second pod", name)
		}
	}
}

// TestLives: there is never a time without the pods that a workload should have, but for a StatefulSet's restarts.
func TestLives(t *testing.T) {
	for _, name := range Names() {
		c := clusterOf(t, name, Options{Rollouts: 2})
		for _, w := range c.app.workloads {
			for at := c.Start; at.Before(c.end); at = at.Add(10 * time.Minute) {
				if n := len(c.alive(w, at)); w.kind == deployment && n < w.replicas {
					t.Errorf("%s has %d pods at %s, want %d", w, n, at, w.replicas)
				}
			}
			if w.kind == statefulSet && len(c.of[w]) != 3*w.replicas {
				t.Errorf("%s had %d pods in two rollouts, want %d", w, len(c.of[w]), 3*w.replicas)
			}
		}
	}
}

func clusterOf(t *testing.T, name string, o Options) *cluster {
	t.Helper()
	app, err := Named(name)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := Run(app, o)
	if err != nil {
		t.Fatal(err)
	}
	return trace.cluster
}

func TestSchedule(t *testing.T) {
	day := time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		text  string
		times int // in a day
	}{
		{"0 3 * * *", 1}, {"15 * * * *", 24}, {"*/10 * * * *", 144}, {"0 */6 * * *", 4}, {"* * * * *", 1440},
	} {
		s, err := parseSchedule(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.between(day, day.Add(24*time.Hour))); got != tt.times {
			t.Errorf("%s: %d times a day, want %d", tt.text, got, tt.times)
		}
	}
	for _, text := range []string{"", "@daily", "60 * * * *", "* 24 * * *", "*/0 * * * *", "1,2 * * * *", "0 3 * * 1"} {
		if _, err := parseSchedule(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
