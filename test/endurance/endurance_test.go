// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

func TestMain(m *testing.M) {
	node.Main(m, buildControlPlane, nil)
}

// buildControlPlane needs the network, so it is done before the network namespace is made.
func buildControlPlane() error {
	for _, tool := range []string{"etcd", "kube-apiserver"} {
		if _, err := cluster.Tool(context.Background(), tool, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}

// As bin/endurance does it with more of everything.
func TestNothingIsLeakedOrLost(t *testing.T) {
	c := config{
		binary: filepath.Join(t.TempDir(), "bulkhead-enforcer"), chart: "../../charts/bulkhead",
		every: 50 * time.Millisecond, duration: 3 * time.Second, away: 4 * time.Second, rounds: 4, output: "json",
		scenarios: []string{"control-detach", "kill", "upgrade", "apiserver", "cut", "large", "newpods", "reuse"},
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, "../../enforcer").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out bytes.Buffer
	if err := run(t.Context(), c, &out, t.Output()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Results {
		if r.Allowed < 500 || r.Denied < 500 {
			t.Errorf("%s: hardly anything was sent: %s", r.Scenario, r.line())
		}
	}
	if len(got.Results) != len(c.scenarios) {
		t.Errorf("%d results of %d scenarios", len(got.Results), len(c.scenarios))
	}
}

// What is counted of a datagram that is sent in one phase, of which it is seen or not seen whether it arrives.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flavour flavour
		want    verdict
		arrives bool
		then    verdict // expected at once after it was sent; either: as before
		fault   string
	}{
		{"allowed, arrives", udp, allowed, true, either, ""},
		{"allowed, is lost", udp, allowed, false, either, "wrongly dropped"},
		{"denied, arrives", udp, denied, true, either, "leaked"},
		{"denied, is lost", udp, denied, false, either, ""},
		{"either, arrives", udp, either, true, either, ""},
		{"either, is lost", udp, either, false, either, ""},
		{"allowed, is lost on the way", udp, allowed, false, denied, ""},
		{"denied, arrives late", udp, denied, true, allowed, ""},
		{"allowed, is not answered", session, allowed, true, either, "wrongly dropped"},
		{"denied session", session, denied, true, either, "leaked"},
	} {
		e := &edge{from: &pod{name: "a"}, to: &pod{name: "b"}, flavour: tc.flavour, tally: &tally{}, pending: make(map[uint64]sent)}
		e.expect(tc.want)
		serial := e.sending()
		if tc.then != either {
			e.expect(tc.then)
		}
		if tc.arrives {
			e.arrived(serial)
		}
		e.sweep(time.Now().Add(2 * missing))
		_, examples := e.tally.reset()
		got, _, _ := strings.Cut(strings.Join(examples, ""), ":")
		if got != tc.fault {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.fault)
		}
	}
}

// The same of connections.
func TestFaultsOfConnections(t *testing.T) {
	for _, tc := range []struct {
		want          verdict
		opened, clean bool
		changed       bool
		fault         string
	}{
		{allowed, true, true, false, ""},
		{allowed, true, false, false, "wrongly dropped"},
		{allowed, false, false, false, "wrongly dropped"},
		{denied, false, false, false, ""},
		{denied, true, true, false, "leaked"},
		{denied, true, true, true, ""},
		{allowed, false, false, true, ""},
		{either, true, true, false, ""},
	} {
		e := &edge{from: &pod{name: "a"}, to: &pod{name: "b"}, flavour: tcp, tally: &tally{}}
		e.expect(tc.want)
		s := sent{time.Now(), e.phase.Load()}
		if tc.changed {
			e.expect(either)
		}
		e.opened(s, tc.opened, tc.clean)
		_, examples := e.tally.reset()
		got, _, _ := strings.Cut(strings.Join(examples, ""), ":")
		if got != tc.fault {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

func TestWhatIsWrong(t *testing.T) {
	slow := newTiming("", 10*time.Millisecond, []time.Duration{time.Millisecond, 11 * time.Millisecond})
	for _, tc := range []struct {
		r    result
		want bool
	}{
		{result{}, false},
		{result{Leaked: 1}, true},
		{result{Dropped: 1}, true},
		{result{Broken: 1}, true},
		{result{control: true}, true},
		{result{control: true, Leaked: 1}, false},
		{result{Wrong: []string{"x"}}, true},
		{result{Times: []*timing{slow}}, true},
		{result{Times: []*timing{newTiming("", 0, slow.took)}}, false},
	} {
		if tc.r.isWrong() != tc.want {
			t.Errorf("%+v: wrong %t", tc.r, !tc.want)
		}
	}
}

func TestTiming(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i)*100*time.Microsecond)
	}
	got := newTiming("x", 0, took)
	if got.P50 != 10 || got.P99 != 19.8 || got.Max != 20 || !slices.Equal(got.Bins, []int{10, 10, 20, 40, 80, 40}) {
		t.Errorf("%+v", got)
	}
	if want := "≤1 ms: 10, ≤2 ms: 10, ≤4 ms: 20, ≤8 ms: 40, ≤16 ms: 80, ≤32 ms: 40"; got.histogram() != want {
		t.Errorf("%s", got.histogram())
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--rounds 0", "--rounds"},
		{"--pods -1", "--pods"},
		{"--policies -1", "--policies"},
		{"--every 0s", "--every"},
		{"--away 0s", "--away"},
		{"--idle 0s", "--idle"},
		{"--duration 0s", "--duration"},
		{"-o yaml", "--output"},
		{"sunshine", "sunshine"},
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error about %s", c.args, err, c.want)
		}
	}
}
