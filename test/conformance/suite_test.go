// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const (
	passed  = `{"ContainerHierarchyTexts": ["[sig-network] Netpol", "between"], "LeafNodeType": "It", "LeafNodeText": "works", "State": "passed", "RunTime": 3000000000}`
	failed  = `{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "leaks", "State": "failed", "Failure": {"Message": "Had 6 wrong results"}}`
	skipped = `{"ContainerHierarchyTexts": ["[sig-node]"], "LeafNodeType": "It", "LeafNodeText": "other", "State": "skipped"}`
	setup   = `{"ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "", "State": "passed"}`
)

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name, report string
		failed       bool
		want         string // part of what is said
	}{
		{"all pass", suite("true", setup, passed, skipped), false, "1 of 1 specs passed with bulkhead-enforcer, CNI ptp, nodes: 1"},
		{"one fails", suite("false", passed, failed), true, "Had 6 wrong results"},
		{"one fails, counted", suite("false", passed, failed), true, "1 of 2 specs passed"},
		{"none ran", suite("true", setup, skipped), true, "0 of 0 specs passed"},
		{"the suite was cut short", suite("false", passed), true, "1 of 1 specs passed"},
		{"no suite", `[]`, true, "0 of 0 specs passed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, err := summary(t, test.report)
			if errors.Is(err, errFailed) != test.failed {
				t.Errorf("got %v, want a failure: %v", err, test.failed)
			}
			if !strings.Contains(said, test.want) {
				t.Errorf("said\n%s\nwant in it: %s", said, test.want)
			}
		})
	}
}

func TestSummaryWithoutReport(t *testing.T) {
	_, err := summary(t, "")
	if err == nil || errors.Is(err, errFailed) || !strings.Contains(err.Error(), "e2e.log") {
		t.Errorf("got %v, want an error that says where to look", err)
	}
}

func TestFollowShowsEverySpec(t *testing.T) {
	var said strings.Builder
	l := &lab{config: config{output: t.TempDir()}, out: &said}
	output := "[It] works\n• [3.1 seconds]\nnoise • of a pod\nSSS• [FAILED] [9 seconds]\nlast line without an end"
	if err := l.follow(strings.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	if want := "  spec 1: [3.1 seconds]\n  spec 2: [FAILED] [9 seconds]\n"; said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
	if log, err := os.ReadFile(l.file("e2e.log")); err != nil || string(log) != output {
		t.Errorf("e2e.log holds %q, %v, want all of the output", log, err)
	}
}

func suite(succeeded string, specs ...string) string {
	return `[{"SuiteSucceeded": ` + succeeded + `, "SpecReports": [` + strings.Join(specs, ",") + `]}]`
}

// summary of a report; an empty one was not written.
func summary(t *testing.T, report string) (string, error) {
	t.Helper()
	var said strings.Builder
	l := &lab{
		config:  config{output: t.TempDir(), enforcer: "e", FullOptions: cluster.FullOptions{CNI: cluster.PTP}},
		Cluster: &cluster.Cluster{Nodes: make([]*cluster.Node, 1)},
		out:     &said,
	}
	if report != "" {
		if err := os.WriteFile(filepath.Join(l.output, "report.json"), []byte(report), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := l.summarize()
	return said.String(), err
}
