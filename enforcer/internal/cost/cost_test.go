// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// What is attached to and mounted is the tests' own.
func TestMain(m *testing.M) { node.Main(m, nil, nil) }

// Every kind of traffic flows, and on the node that enforces it is judged: a half without verdicts is an error.
func TestTraffic(t *testing.T) {
	c := trafficConfig{rounds: 2, slice: 10 * time.Millisecond, families: []string{"IPv4", "IPv6"}, only: "one core", pods: 10, policies: 2}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := measureTraffic(context.Background(), c, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "| one core"); rows != 16 || strings.Contains(out.String(), "NaN") {
		t.Errorf("%d rows, want 16 with figures in them:\n%s", rows, &out)
	}
}

// Packets get the verdicts that the table says: another one is an error.
func TestPackets(t *testing.T) {
	c := packetsConfig{pods: []int{10, 200}, policies: []int{1, 1000}, repetitions: 1}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	if err := measurePackets(context.Background(), c, t.Output(), io.Discard); err != nil {
		t.Fatal(err)
	}
}

// Whether there is room for all records or not, none goes missing.
func TestEveryConnectionIsAccountedFor(t *testing.T) {
	for _, tt := range []struct {
		peers int
		lost  bool
	}{{1, false}, {65_536, true}} {
		s, err := account(context.Background(), dataplane.Config{Flows: 256}, tt.peers, 1500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if s.missing() != 0 || s.opened == 0 || s.lost > 0 != tt.lost {
			t.Errorf("%d peers: %+v, lost some: want %v, and none missing", tt.peers, s, tt.lost)
		}
	}
}

func TestConfidence(t *testing.T) {
	var values []float64
	for i := range 40 {
		values = append(values, float64((i*7)%40)) // 0 to 39, in disorder
	}
	// Of 40 draws 14 or more, and 26 or fewer, are below the median in 95 of 100 cases.
	if low, high := confidence(values); low != 13 || high != 26 {
		t.Errorf("the interval of 40 values is from number %v to %v, want 13 to 26", low, high)
	}
	if low, high := confidence([]float64{3, 1, 2}); low != 1 || high != 3 {
		t.Errorf("the interval of three values is %v to %v, want all", low, high)
	}
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v, want 2.5", m)
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		want      string
	}{{98, 100, "met"}, {96, 97.9, "not met"}, {97, 99, "undecided"}} {
		if got := verdict(tt.low, tt.high, 98); got != tt.want {
			t.Errorf("%v to %v: %s, want %s", tt.low, tt.high, got, tt.want)
		}
	}
}
