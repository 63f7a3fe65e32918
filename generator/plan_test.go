// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlan: what people decided beside the policies counts when they are made and when they are judged.
func TestPlan(t *testing.T) {
	out := t.TempDir()
	mustRun(t, generateArgs(out, "-n", "shop")...)
	shop := filepath.Join(out, "clusters/demo/shop")
	const header = "apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n"
	write(t, filepath.Join(shop, "plan.yaml"), header+`# Kim decides
- {reject: {from: shop/report, to: shop/database}, reason: the report is to read from the replica}
- {accept: {from: shop/api, to: 203.0.113.0/28, ports: [TCP/443, UDP/443]}, reason: the bank}
- {reject: {from: evil/*, to: shop/web}, reason: who is that}
`)
	text, errOut, failure := bulkhead(t, generateArgs(out, "-n", "shop")...)
	if failure != "" || !strings.Contains(text, "proven;") || !strings.Contains(errOut, "plan.yaml speaks of no connection: reject evil/* → shop/web") {
		t.Errorf("generate with a plan: %s %s%s", failure, text, errOut)
	}
	if _, err := os.Stat(filepath.Join(shop, "report.yaml")); err == nil {
		t.Error("the rejected connection has its policy still")
	}
	api, err := os.ReadFile(filepath.Join(shop, "api.yaml"))
	if err != nil || strings.Count(string(api), "cidr: 203.0.113.0/28") != 1 || strings.Contains(string(api), "203.0.113.7") {
		t.Errorf("the bank's range is not allowed once, %v:\n%s", err, api)
	}
	if text := mustRun(t, "verify", "--flows", flowsFile, "--inventory", inventory, "--policies", shop); !strings.Contains(text, "allows 203.0.113.0/28") || !strings.Contains(text, "proven:") {
		t.Errorf("verify says %s", text)
	}
	write(t, filepath.Join(shop, "plan.yaml"), header+"- {reject: {from: shop/report, to: shop/database}}\n")
	for _, args := range [][]string{generateArgs(out, "-n", "shop"), {"verify", "--flows", flowsFile, "--inventory", inventory, "--policies", shop}} {
		if _, _, failure := bulkhead(t, args...); !strings.Contains(failure, "plan.yaml") || !strings.Contains(failure, "decisions[0].reason: say why") {
			t.Errorf("%s, without a reason: %q", args[0], failure)
		}
	}
	if _, _, failure := bulkhead(t, generateArgs(out)...); !strings.Contains(failure, "plan.yaml of namespace shop") {
		t.Errorf("generate all: %q", failure)
	}
	if _, err := os.Stat(filepath.Join(out, "clusters/demo/monitoring/prometheus.yaml")); err != nil {
		t.Errorf("one namespace keeps the others from their policies: %v", err)
	}
}

// TestRetire: what is not seen any more stays until its removal is asked for, alone.
func TestRetire(t *testing.T) {
	out := t.TempDir()
	mustRun(t, generateArgs(out, "-n", "shop")...)
	policy := func(name string) string {
		content, err := os.ReadFile(filepath.Join(out, "clusters/demo/shop", name))
		if err != nil {
			return ""
		}
		return string(content)
	}
	before := policy("frontend.yaml")
	later := write(t, filepath.Join(out, "later.jsonl"), newConnection)
	args := []string{"generate", "--flows", later, "--inventory", inventory, "--cluster", "demo", "--out", out, "-n", "shop", "--min-flows", "1"}
	_, errOut, failure := bulkhead(t, append(args, "--retire-after", "1h")...)
	if failure != "" || policy("frontend.yaml") != before || policy("silent.yaml") == "" || !strings.Contains(errOut, "connections were not seen for long and stay allowed") {
		t.Fatalf("%s\n%s\nfrontend:\n%s\nsilent:\n%s", failure, errOut, policy("frontend.yaml"), policy("silent.yaml"))
	}
	if mustRun(t, append(args, "--retire", "--retire-after", "99h")...); policy("frontend.yaml") != before {
		t.Error("what is not old enough is retired")
	}
	if mustRun(t, append(args, "--retire", "--retire-after", "1h")...); policy("frontend.yaml") != "" || policy("silent.yaml") == "" {
		t.Errorf("what is old is there still, or what is new is not:\n%s", policy("frontend.yaml"))
	}
	if _, _, failure := bulkhead(t, append(args, "--retire-after", "0s")...); !strings.Contains(failure, "--retire-after 0s: give a time") {
		t.Error(failure)
	}
}
