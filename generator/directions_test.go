// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDirections: those who govern ingress first say so once. What is in Git is then kept to, until they ask for both.
func TestDirections(t *testing.T) {
	const (
		open  = "egress of namespace shop is not governed: it stays open where no other policy isolates"
		plain = "open: no policy isolates Deployment shop/api, Egress"
	)
	out := t.TempDir()
	policies := filepath.Join(out, "clusters/demo/shop")
	_, errOut, failure := bulkhead(t, generateArgs(out, "-n", "shop", "--directions", "ingress")...)
	if failure != "" || !strings.Contains(errOut, open) {
		t.Errorf("generate: %q\n%s", failure, errOut)
	}
	for file, want := range map[string]bool{"api.yaml": true, "report.yaml": false} {
		if _, err := os.Stat(filepath.Join(policies, file)); (err == nil) != want {
			t.Errorf("%s is there: %v", file, err == nil)
		}
	}
	if again := mustRun(t, generateArgs(out, "-n", "shop")...); !strings.Contains(again, "shop: nothing changed") {
		t.Errorf("without the flag it says %s", again)
	}
	verify := []string{"verify", "--flows", flowsFile, "--inventory", inventory, "--policies", policies}
	for _, tt := range []struct {
		words    []string
		has, not string
	}{
		{nil, "4 policies, 8 connections\n" + open, plain},
		{[]string{"--directions", "ingress"}, "4 policies, 8 connections\n" + open, plain},
		{[]string{"--directions", "egress,ingress"}, plain, open},
	} {
		if text := mustRun(t, append(slices.Clone(verify), tt.words...)...); !strings.Contains(text, tt.has) || strings.Contains(text, tt.not) || !strings.Contains(text, "proven:") {
			t.Errorf("verify %v says %s", tt.words, text)
		}
	}
	if _, _, failure := bulkhead(t, append(slices.Clone(verify), "--directions", "egress")...); !strings.Contains(failure, "none of 4 NetworkPolicies is about --directions egress") {
		t.Errorf("verify of the other direction: %q", failure)
	}
	mustRun(t, generateArgs(out, "-n", "shop", "--directions", "ingress,egress")...)
	for _, file := range []string{"api.yaml", "report.yaml", "baseline.yaml", "kustomization.yaml"} {
		got, err := os.ReadFile(filepath.Join(policies, file))
		want, wantErr := os.ReadFile(testCase + "want/shop/" + file)
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Errorf("%s is not as if both had been asked for at once (%v, %v)", file, err, wantErr)
		}
	}
}

// TestVerifyKeptDirections: policies without a default-deny are judged in the directions of the one that Bulkhead keeps.
func TestVerifyKeptDirections(t *testing.T) {
	const kept = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bulkhead-default-deny-ingress, namespace: shop, labels: {bulkhead.dev/managed-by: gitops}}
spec: {podSelector: {}, policyTypes: [Ingress]}
`
	api := testCase + "want/shop/api.yaml"
	for policies, want := range map[string]bool{kept: true, legacy: false} {
		text, _, _ := bulkhead(t, "verify", "--flows", flowsFile, "--inventory", withPolicies(t, policies), "--policies", api)
		if got := strings.Contains(text, "egress of namespace shop is not governed"); got != want {
			t.Errorf("not governed is %v, want %v:\n%s", got, want, text)
		}
	}
}

// TestReproduceDirections: the pull request's command writes the same.
func TestReproduceDirections(t *testing.T) {
	bare, body := begun(t), filepath.Join(t.TempDir(), "pr.md")
	mustRun(t, "propose", "--flows", flowsFile, "--inventory", inventory, "--cluster", "demo", "-n", "shop", "--repo", bare, "--body", body, "--directions", "egress")
	text, err := os.ReadFile(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n12 egress connections were observed", "\n- Ingress of `shop` is not governed: it stays open", " --directions egress "} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("the text does not say %q once:\n%s", want, text)
		}
	}
}

func TestBadDirections(t *testing.T) {
	for _, args := range [][]string{
		generateArgs(t.TempDir(), "--directions", "in"),
		{"verify", "--flows", flowsFile, "--inventory", inventory, "--policies", testCase, "--directions", "in"},
	} {
		if _, _, failure := bulkhead(t, args...); !strings.Contains(failure, `--directions: direction "in": give ingress, egress or both`) {
			t.Errorf("%s: %q", args[0], failure)
		}
	}
}
