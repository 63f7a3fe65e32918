// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const legacy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-all, namespace: shop}
spec: {podSelector: {}, ingress: [{}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: gone, namespace: shop}
spec: {podSelector: {matchLabels: {app: gone}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: isolate, namespace: monitoring}
spec: {podSelector: {}, policyTypes: [Egress]}
`

// withPolicies is the case's inventory, and policies that the cluster has.
func withPolicies(t *testing.T, policies string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(inventory)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "policies.yaml"), policies)
	return dir
}

// TestForeign: policies that the cluster has and Git has not are named wherever a person looks, and change no policy.
func TestForeign(t *testing.T) {
	const (
		open    = "NetworkPolicy shop/allow-all is in the cluster and not in Git; it lets everything in to 5 workloads"
		blocked = "impossible today: StatefulSet monitoring/prometheus → Deployment shop/api TCP/9090; its egress is denied by NetworkPolicy monitoring/isolate"
	)
	live, out := withPolicies(t, legacy), t.TempDir()
	common := []string{"--flows", flowsFile, "--inventory", live}
	_, errOut, failure := bulkhead(t, append([]string{"generate", "--cluster", "demo", "-n", "shop", "--out", out}, common...)...)
	if failure != "" || !strings.Contains(errOut, open) || !strings.Contains(errOut, blocked) {
		t.Errorf("generate: %q\n%s", failure, errOut)
	}
	written := filepath.Join(out, "clusters/demo/shop")
	for _, file := range []string{"api.yaml", "database.yaml", "frontend.yaml", "report.yaml", "baseline.yaml", "kustomization.yaml"} {
		got, err := os.ReadFile(filepath.Join(written, file))
		want, wantErr := os.ReadFile(testCase + "want/shop/" + file)
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Errorf("%s differs from what is written without them (%v, %v)", file, err, wantErr)
		}
	}
	evidence, err := os.ReadFile(filepath.Join(written, "evidence.json"))
	if err != nil || !strings.Contains(string(evidence), `{"policy":"NetworkPolicy shop/allow-all","allIn":[`) {
		t.Errorf("evidence.json does not have it (%v)", err)
	}
	text := mustRun(t, append([]string{"verify", "--policies", written}, common...)...)
	for _, want := range []string{"NetworkPolicy shop/allow-all is in the cluster and not among these; it lets everything in", blocked, "selects no pod: NetworkPolicy shop/gone", "shadowed: NetworkPolicy shop/allow-all spec.ingress[0]", "proven:"} {
		if !strings.Contains(text, want) {
			t.Errorf("verify does not say %q:\n%s", want, text)
		}
	}
	write(t, filepath.Join(written, "allow-all.yaml"), strings.SplitAfter(legacy, "ingress: [{}]}\n")[0])
	_, errOut, failure = bulkhead(t, append([]string{"report", "--cluster", "demo", "-n", "shop", "--out", t.TempDir(), "--policies", out, "--min-flows", "1", "--max-loss", "20"}, common...)...)
	if failure != "" || strings.Contains(errOut, "allow-all") || !strings.Contains(errOut, "shop/gone is in the cluster and not in Git") {
		t.Errorf("report, with the policy in Git: %q\n%s", failure, errOut)
	}
}

// TestClusterPolicies: policies for the whole cluster are named in the same places, and it is said that they were not judged.
func TestClusterPolicies(t *testing.T) {
	const (
		lockdown = "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: lockdown}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}}\n"
		said     = "ClusterNetworkPolicy lockdown is in the cluster and not in Git; it was not judged, and decides before NetworkPolicies do"
	)
	live, out := withPolicies(t, lockdown), t.TempDir()
	common := []string{"--flows", flowsFile, "--inventory", live}
	_, errOut, failure := bulkhead(t, append([]string{"generate", "--cluster", "demo", "-n", "shop", "--out", out}, common...)...)
	if failure != "" || !strings.Contains(errOut, said) {
		t.Errorf("generate: %q\n%s", failure, errOut)
	}
	written := filepath.Join(out, "clusters/demo/shop")
	evidence, err := os.ReadFile(filepath.Join(written, "evidence.json"))
	if err != nil || !strings.Contains(string(evidence), `{"policy":"ClusterNetworkPolicy lockdown","tier":"Admin",`) {
		t.Errorf("evidence.json does not have it (%v)", err)
	}
	if text := mustRun(t, append([]string{"verify", "--policies", written}, common...)...); !strings.Contains(text, "ClusterNetworkPolicy lockdown is in the cluster and not among these; it was not judged") || !strings.Contains(text, "proven:") {
		t.Errorf("verify says\n%s", text)
	}
	pages := t.TempDir()
	mustRun(t, append([]string{"report", "--cluster", "demo", "-n", "shop", "--out", pages, "--policies", out, "--min-flows", "1", "--max-loss", "20"}, common...)...)
	page, err := os.ReadFile(filepath.Join(pages, "shop.html"))
	if err != nil || !strings.Contains(string(page), "ClusterNetworkPolicy lockdown") {
		t.Errorf("the page does not have it (%v)", err)
	}
	body := filepath.Join(t.TempDir(), "pr.md")
	mustRun(t, append([]string{"propose", "--cluster", "demo", "-n", "shop", "--repo", begun(t), "--body", body}, common...)...)
	if text, err := os.ReadFile(body); err != nil || !strings.Contains(string(text), "- `ClusterNetworkPolicy lockdown` is in the cluster and not in Git; it was not judged") {
		t.Errorf("the pull request does not have it (%v):\n%s", err, text)
	}
}

// TestProposeForeign: the pull request begins with them, and the outcome has them also when there is nothing to propose.
func TestProposeForeign(t *testing.T) {
	bare, body := begun(t), filepath.Join(t.TempDir(), "pr.md")
	args := []string{"propose", "--flows", flowsFile, "--inventory", withPolicies(t, legacy), "--cluster", "demo", "-n", "shop", "--repo", bare, "--body", body, "-o", "json"}
	for _, commits := range []bool{true, false} {
		var outcomes []struct {
			Commit  string
			Foreign []struct{ Policy string }
		}
		if err := json.Unmarshal([]byte(mustRun(t, args...)), &outcomes); err != nil || len(outcomes) != 1 || (outcomes[0].Commit != "") != commits {
			t.Fatalf("%v, %+v", err, outcomes)
		}
		if !slices.ContainsFunc(outcomes[0].Foreign, func(f struct{ Policy string }) bool { return f.Policy == "NetworkPolicy shop/allow-all" }) {
			t.Errorf("the outcome does not have the policy: %+v", outcomes)
		}
	}
	text, err := os.ReadFile(body)
	if err != nil || !strings.Contains(string(text), "## Risks\n\n- `NetworkPolicy shop/allow-all` is in the cluster and not in Git; it lets everything in to 5 workloads") {
		t.Errorf("the risks do not begin with it (%v):\n%s", err, text)
	}
	if !strings.Contains(string(text), "- Impossible today: `StatefulSet monitoring/prometheus → Deployment shop/api TCP/9090`; its egress is denied by `NetworkPolicy monitoring/isolate` until a policy of namespace `monitoring` allows it.") {
		t.Errorf("the risks do not have what is impossible:\n%s", text)
	}
}
