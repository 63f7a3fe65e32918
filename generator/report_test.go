// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var reportArgs = []string{"report", "--flows", flowsFile, "--inventory", inventory, "--cluster", "demo", "--min-flows", "1", "--max-loss", "20"}

// TestReport writes pages beside what is in the directory, and says where a plan decides.
func TestReport(t *testing.T) {
	dir, policies := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "other.html"), "stays")
	out := mustRun(t, append(reportArgs, "--out", dir)...)
	if !strings.Contains(out, filepath.Join(dir, "shop.html")+": not ready to be enforced") {
		t.Errorf("it says %q", out)
	}
	if !strings.Contains(read(t, filepath.Join(dir, "shop.html")), "Deployment evil/scanner") {
		t.Error("the page does not say who was denied")
	}
	if read(t, filepath.Join(dir, "other.html")) != "stays" || !strings.Contains(read(t, filepath.Join(dir, "index.html")), `href="shop.html"`) {
		t.Error("another file is gone, or the overview leads nowhere")
	}
	write(t, filepath.Join(policies, "clusters/demo/shop/plan.yaml"), `apiVersion: bulkhead.dev/v1alpha1
kind: Plan
decisions:
- reject:
    from: no/body
    to: shop/*
  reason: nobody is there
`)
	mustRun(t, append(reportArgs, "--out", dir, "--policies", policies)...)
	if page := read(t, filepath.Join(dir, "shop.html")); !strings.Contains(page, "reject no/body → shop/*") {
		t.Error("the page does not say that a decision speaks of no connection")
	}
}

func TestReportRefuses(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "file"), "")
	for _, c := range []struct{ args, want string }{
		{"--cluster demo", "--out is missing"},
		{"--cluster demo --out " + file, "--out " + file},
		{"--cluster ../x --out out", `cluster name "../x"`},
	} {
		args := append([]string{"report", "--flows", flowsFile, "--inventory", inventory}, strings.Fields(c.args)...)
		if _, _, failure := bulkhead(t, args...); !strings.Contains(failure, c.want) {
			t.Errorf("%s: got %q, want %q", c.args, failure, c.want)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
