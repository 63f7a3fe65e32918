// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// TestFlowsOfCalico: the same cluster's flows in Calico's format give edges, alone and among Hubble's.
func TestFlowsOfCalico(t *testing.T) {
	const line = `{"start_time":1763632800,"end_time":1763633100,"source_ip":null,"source_name":"-","source_name_aggr":"frontend-5d8c7-*","source_namespace":"shop",` +
		`"source_type":"wep","source_labels":{"labels":["app=frontend"]},"dest_ip":"10.0.1.20","dest_name":"api-6f-xyz","dest_name_aggr":"api-6f-*","dest_namespace":"shop","dest_port":9999,` +
		`"dest_type":"wep","dest_labels":{"labels":["app=api","track=stable"]},"proto":"tcp","action":"allow","reporter":"dst","num_flows_started":3}`
	hubble, err := os.ReadFile(flowsFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"alone": line + "\n", "with an ICMP log": line + "\n" + strings.Replace(line, `"tcp"`, `"icmp"`, 1),
	} {
		file := write(t, filepath.Join(t.TempDir(), "flows.json"), content)
		out, errOut, failure := bulkhead(t, "edges", "--flows", file, "--inventory", inventory, "-o", "csv")
		want := "Deployment shop/frontend,Deployment shop/api,TCP,9999,ingress,FORWARDED,3,"
		if failure != "" || !strings.Contains(out, want) || strings.Contains(errOut, "ICMP") != strings.Contains(content, "icmp") {
			t.Errorf("%s: %s\n%s%s", name, failure, out, errOut)
		}
	}
	both := write(t, filepath.Join(t.TempDir(), "both.json"), string(hubble)+"\n"+strings.ReplaceAll(line, "17636", "17951"))
	alone := len(strings.Split(mustRun(t, "edges", "--flows", flowsFile, "--inventory", inventory), "\n"))
	if with := len(strings.Split(mustRun(t, "edges", "--flows", both, "--inventory", inventory), "\n")); with != alone+1 {
		t.Errorf("%d lines with a flow log of Calico, %d without", with, alone)
	}
}

// TestBadSources: what is wrong with a source as a whole is one line that names it.
func TestBadSources(t *testing.T) {
	flows, err := os.ReadFile(flowsFile)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(flows); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ content, want string }{
		"cut.gz":     {packed.String()[:packed.Len()/2], "flows: the gzip data is cut off or damaged, copy the file again"},
		"other.json": {strings.ReplaceAll(string(flows), `"namespace":"shop"`, `"namespace":"bank"`), "flows of another cluster: "},
		"jump.json":  {strings.Replace(string(flows), `"time":"2026`, `"time":"2036`, 1), ""},
	} {
		file := write(t, filepath.Join(t.TempDir(), name), tt.content)
		out, errOut, failure := bulkhead(t, "edges", "--flows", file, "--inventory", inventory)
		switch {
		case tt.want == "" && (failure != "" || !strings.Contains(errOut, "1 flows are dated more than a day from all others") || strings.Contains(out, "2036")):
			t.Errorf("%s: %s %s\n%s", name, failure, errOut, out)
		case tt.want != "" && (!strings.Contains(failure, tt.want) || out != ""):
			t.Errorf("%s: %q, want %q", name, failure, tt.want)
		}
	}
}

// TestTooManyAddresses: a workload that talks to more addresses than are kept leaves a sample and one line for the others, which
// the order of flows does not change, nor that they go through a state file.
func TestTooManyAddresses(t *testing.T) {
	var lines []string
	for n := range 5000 {
		lines = append(lines, fmt.Sprintf(`{"uuid":"%d","time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","node_name":"n","is_reply":false,"traffic_direction":"EGRESS","Type":"L3_L4",`+
			`"IP":{"source":"10.0.1.10","destination":"203.0.%d.%d"},"l4":{"TCP":{"source_port":40000,"destination_port":443}},`+
			`"source":{"namespace":"shop","pod_name":"frontend-1","workloads":[{"kind":"Deployment","name":"frontend"}]},"destination":{"labels":["reserved:world"]}}`, n, n/250, n%250))
	}
	file := write(t, filepath.Join(t.TempDir(), "flows.json"), strings.Join(lines, "\n"))
	want := mustRun(t, "edges", "--flows", file, "-o", "csv")
	if n := strings.Count(want, "Deployment shop/frontend,203.0."); n != edge.DefaultLimits.Group || strings.Count(want, "Deployment shop/frontend,others,TCP,443,egress,FORWARDED,") != 1 {
		t.Errorf("%d addresses are kept, and the others are not one line:\n%.500s", n, want)
	}
	slices.Reverse(lines)
	file = write(t, filepath.Join(t.TempDir(), "flows.json"), strings.Join(lines, "\n"))
	if got := mustRun(t, "edges", "--flows", file, "-o", "csv"); got != want {
		t.Error("another order gives other edges")
	}
	if got := mustRun(t, "edges", "--flows", file, "-o", "csv", "--state", filepath.Join(t.TempDir(), "state")); got != want {
		t.Error("a state file gives other edges")
	}
}

// TestInterrupted: half of the flows would be half of the policies, so whoever stops a run gets nothing.
func TestInterrupted(t *testing.T) {
	content, err := os.ReadFile(flowsFile)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "flows")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			return // the reader says so
		}
		defer w.Close()
		_, _ = w.Write(content) // the reader has begun, and may not end
		cancel()
		_, _ = w.Write(content)
	}()
	out := filepath.Join(t.TempDir(), "policies")
	args := []string{"generate", "--flows", pipe, "--inventory", inventory, "--cluster", "demo", "--out", out, "--min-flows", "1", "--max-loss", "20"}
	failure := run(ctx, args, io.Discard, io.Discard)
	if !errors.Is(failure, context.Canceled) || !strings.Contains(failure.Error(), "nothing was written") {
		t.Errorf("got %v", failure)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
