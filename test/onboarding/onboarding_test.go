// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// programs is where build puts them; empty: it was not called.
var programs string

// build builds the webhook as it is now, for all tests once.
var build = sync.OnceValue(func() (err error) {
	if programs, err = os.MkdirTemp("", "bulkhead-onboarding-programs-"); err != nil {
		return err
	}
	return cluster.Build(context.Background(), programs)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func ofRepository(t *testing.T, apiServers int) setup {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return setup{webhook: filepath.Join(programs, "bulkhead-webhook"), chart: "../../charts/bulkhead", apiServers: apiServers}
}

func TestNoPodIsEarly(t *testing.T) {
	for name, c := range map[string]config{
		"one API server":  {setup: ofRepository(t, 1), states: states, existing: 200},
		"two API servers": {setup: ofRepository(t, 2), states: []string{running}},
	} {
		t.Run(name, func(t *testing.T) {
			c.namespaces, c.parallel, c.output = 60, []int{16}, "json"
			var out bytes.Buffer
			if err := run(t.Context(), c, &out, t.Output()); err != nil {
				t.Errorf("%v\n%s", err, &out)
			}
			var got report
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			checkReport(t, c, got)
		})
	}
}

func checkReport(t *testing.T, c config, got report) {
	t.Helper()
	if len(got.Races) != len(c.states) {
		t.Fatalf("%d races, want %d", len(got.Races), len(c.states))
	}
	for _, race := range got.Races {
		lost := race.NoNamespace + race.NoPod
		if race.State != stopped && lost > 0 {
			t.Errorf("%s: %d namespaces or pods were never admitted", race.State, lost)
		}
		if race.State == stopped && lost == 0 {
			t.Errorf("%s: everything was admitted, so it was not", race.State)
		}
		if race.State == restarting && race.Restarts == 0 {
			t.Errorf("%s: no restart", race.State)
		}
		if race.P50 <= 0 || race.P50 > race.P99 {
			t.Errorf("%s: p50 %.1f ms, p99 %.1f ms", race.State, race.P50, race.P99)
		}
	}
	if c.existing > 0 && got.Existing.Seconds > 60 {
		t.Errorf("%d existing namespaces took %.1f s", c.existing, got.Existing.Seconds)
	}
}

func TestEarly(t *testing.T) {
	for _, c := range []struct {
		deny, dns uint64 // 0: never came
		pod       string
		want      bool
	}{
		{3, 4, "5", false},
		{4, 3, "5", false},
		{3, 9, "10", false}, // as numbers, not as text
		{6, 4, "5", true},
		{3, 6, "5", true},
		{3, 0, "5", true},
		{0, 3, "5", true},
		{0, 0, "5", true},
		{3, 4, "", true},
	} {
		a := &arrivals{by: map[string]*arrival{}, changed: make(chan struct{})}
		for name, version := range map[string]uint64{baseline.DefaultDenyName: c.deny, baseline.AllowDNSName: c.dns} {
			if version > 0 {
				a.add(policy(name, version))
				a.add(policy(name, version+100)) // made again later, which changes nothing
			}
		}
		if got := a.early("shop", c.pod); got != c.want {
			t.Errorf("policies %d and %d, pod %s: early %t, want %t", c.deny, c.dns, c.pod, got, c.want)
		}
	}
}

func policy(name string, version uint64) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, ResourceVersion: strconv.FormatUint(version, 10),
	}}
}

func TestPercentile(t *testing.T) {
	var took []time.Duration
	for i := range 101 {
		took = append(took, time.Duration(100-i)*time.Millisecond)
	}
	var s result
	s.latencies(took)
	if s.P50 != 50 || s.P95 != 95 || s.P99 != 99 || percentile(nil, 50) != 0 {
		t.Errorf("p50 %v, p95 %v, p99 %v", s.P50, s.P95, s.P99)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--namespaces 0", "--namespaces"},
		{"--parallel 0", "--parallel"},
		{"--states asleep", "--states"},
		{"--api-servers 3", "--api-servers"},
		{"--existing -1", "--existing"},
		{"-o yaml", "--output"},
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error about %s", c.args, err, c.want)
		}
	}
}
