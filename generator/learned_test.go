// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutInventory: flows that can be read once are enough for policies, their proof, a page and a proposal, and each
// says that there was no inventory.
func TestWithoutInventory(t *testing.T) {
	dir := t.TempDir()
	pipe, policies, body := filepath.Join(dir, "pipe"), filepath.Join(dir, "policies"), filepath.Join(dir, "pr.md")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	fed := make(chan error)
	go func() { fed <- feed(pipe) }()
	_, errOut, failure := bulkhead(t, "generate", "--flows", pipe, "--out", policies)
	if failure != "" || !strings.Contains(errOut, "no inventory: 8 workloads in 5 namespaces were learned from the flows.") {
		t.Fatalf("%s\n%s", failure, errOut)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if api := read(t, filepath.Join(policies, "clusters/default/shop/api.yaml")); !strings.Contains(api, "podSelector:\n    matchLabels:\n      app: api\n") {
		t.Errorf("the policy of api:\n%s", api)
	}
	if evidence := read(t, filepath.Join(policies, "clusters/default/shop/evidence.json")); !strings.Contains(evidence, `"withoutInventory": true`) {
		t.Errorf("evidence.json does not say that there was no inventory:\n%s", evidence)
	}
	if out := mustRun(t, "verify", "--flows", flowsFile, "--policies", policies); !strings.Contains(out, "proven:") {
		t.Error(out)
	}
	if out := mustRun(t, "edges", "--flows", flowsFile); !strings.Contains(out, "Deployment shop/frontend") {
		t.Error(out)
	}
	mustRun(t, "report", "--flows", flowsFile, "--out", dir, "--max-loss", "20", "--min-flows", "1")
	if page := read(t, filepath.Join(dir, "shop.html")); !strings.Contains(page, "There was no inventory") {
		t.Error("the page does not say that there was no inventory")
	}
	repository := begun(t)
	mustRun(t, "propose", "--flows", flowsFile, "--cluster", "c", "-n", "shop", "--repo", repository, "--body", body)
	if text := read(t, body); !strings.Contains(text, "## Risks\n\n- There was no inventory") || !strings.Contains(text, "bulkhead generate --flows "+flowsFile+" --min-flows 1") {
		t.Error(text)
	}
	for _, command := range [][]string{{"generate", "--out", policies}, {"verify", "--policies", policies}} {
		if _, _, failure := bulkhead(t, append(command, "--flows", flowsFile, "--state", filepath.Join(dir, "state"))...); !strings.Contains(failure, "--state needs --inventory or --kubeconfig") {
			t.Errorf("%s with --state: %s", command[0], failure)
		}
	}
}

// TestSilentIsNotGone: flows that say nothing of a workload do not take away what was approved for it.
func TestSilentIsNotGone(t *testing.T) {
	dir := t.TempDir()
	api := filepath.Join(dir, "clusters/default/shop/api.yaml")
	mustRun(t, "generate", "--flows", flowsFile, "--out", dir)
	before := read(t, api)
	var later strings.Builder
	for line := range strings.Lines(read(t, flowsFile)) {
		if !strings.Contains(line, `"name":"api"`) {
			later.WriteString(line)
		}
	}
	_, _, failure := bulkhead(t, "generate", "--flows", write(t, filepath.Join(t.TempDir(), "later.jsonl"), later.String()), "--out", dir, "--min-flows", "1", "--max-loss", "50")
	if !strings.Contains(failure, "namespace shop: ") || !strings.Contains(failure, "of workloads of which these flows say nothing, such as ") {
		t.Errorf("got %q", failure)
	}
	if read(t, api) != before {
		t.Error("the policy of a workload that was silent changed")
	}
}

// feed writes the flows into a pipe, from which they can be read once.
func feed(pipe string) error {
	data, err := os.ReadFile(flowsFile)
	if err != nil {
		return err
	}
	return os.WriteFile(pipe, data, 0)
}
