// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadInput gives each command what it cannot use: one line that names it, and nothing written.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	badFlows := write(t, filepath.Join(dir, "bad.jsonl"), `{"flow":`+"\n")
	badYAML := filepath.Dir(write(t, filepath.Join(dir, "yaml/x.yaml"), "kind: Deployment\napiVersion: apps/v1\nspec: [\n"))
	policy := func(name, spec string) string {
		return filepath.Dir(write(t, filepath.Join(dir, name, "p.yaml"), "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: "+spec+"\n"))
	}
	badCIDR := policy("cidr", "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/40}}]}]}")
	badSelector := policy("selector", "{podSelector: {matchExpressions: [{key: a, operator: Near}]}}")
	badField := policy("field", "{podSelector: {}, ingres: []}")
	goodPolicy := policy("good", "{podSelector: {}}")
	empty := write(t, filepath.Join(dir, "empty"), "")
	notFlows := write(t, filepath.Join(dir, "random"), "\x00\xff\x13\nabc\n")
	emptyDir := t.TempDir()
	hollow := filepath.Join(dir, "hollow.git") // a repository without a commit
	git(t, dir, "init", "-q", "--bare", "-b", "main", hollow)
	t.Setenv("SSH_AUTH_SOCK", "")
	closed := kubeconfig(t, "https://127.0.0.1:1")
	out := filepath.Join(dir, "out")
	verify := func(policies string) []string {
		return []string{"verify", "--flows", flowsFile, "--inventory", inventory, "--policies", policies}
	}
	propose := func(more ...string) []string {
		return append([]string{"propose", "--flows", flowsFile, "--inventory", inventory, "--cluster", "c"}, more...)
	}
	serve := func(more ...string) []string {
		return append([]string{"serve", "--cluster", "c", "--repo", dir, "--hubble", "x:1", "--listen", "127.0.0.1:0"}, more...)
	}
	tests := []struct {
		want string
		args []string
	}{
		{"unknown command", []string{"nope"}},
		{"unknown flag", []string{"edges", "--nope"}},
		{"no flows: give --flows", []string{"edges"}},
		{"missing.json", []string{"edges", "--flows", "missing.json"}},
		{"bad.jsonl:1: not JSON", []string{"edges", "--flows", badFlows, "--max-malformed", "0"}},
		{notFlows + ":1: not JSON", []string{"edges", "--flows", notFlows}},
		{notFlows + ":1: not JSON", []string{"edges", "--flows", notFlows, "--flows", empty}},
		{"has no objects", []string{"edges", "--flows", flowsFile, "--inventory", emptyDir}},
		{`--output "xml"`, []string{"edges", "--flows", flowsFile, "-o", "xml"}},
		{"--flows or --hubble, not both", []string{"edges", "--flows", flowsFile, "--hubble", "localhost:1"}},
		{"--since or --last, not both", []string{"edges", "--hubble", "localhost:1", "--since", "1h", "--last", "5"}},
		{"not host:port", []string{"edges", "--hubble", "localhost"}},
		{"--hubble-ca needs --hubble", []string{"edges", "--flows", flowsFile, "--hubble-ca", "ca.crt"}},
		{"--hubble-ca: open nope", []string{"edges", "--hubble", "127.0.0.1:1", "--hubble-ca", "nope"}},
		{badFlows + " holds no PEM certificate", []string{"verify", "--hubble", "127.0.0.1:1", "--inventory", inventory, "--policies", goodPolicy, "--hubble-ca", badFlows}},
		{"need --hubble-ca", []string{"edges", "--hubble", "127.0.0.1:1", "--hubble-cert", "c"}},
		{"--hubble-cert and --hubble-key go together", []string{"generate", "--hubble", "127.0.0.1:1", "--inventory", inventory, "--cluster", "c", "--out", out, "--hubble-ca", badFlows, "--hubble-cert", "c"}},
		{"observer 127.0.0.1:1 does not answer", []string{"edges", "--hubble", "127.0.0.1:1"}},
		{"--cluster is missing", []string{"propose", "--flows", flowsFile, "--inventory", inventory, "--repo", hollow}},
		{`cluster name "a/b"`, generateArgs(out, "--cluster", "a/b")},
		{`--namespace "../x"`, generateArgs(out, "-n", "../x")},
		{"--namespace nope: the inventory has no such namespace", generateArgs(out, "-n", "nope,shop")},
		{"--namespace nope: the inventory has no such namespace", propose("--repo", hollow, "-n", "nope")},
		{`--dns-service "x": give it as namespace/name`, generateArgs(out, "--dns-service", "x", "--flows", "missing.json")},
		{`--dns-service "kube-system/": give it as namespace/name`, propose("--repo", dir, "--dns-service", "kube-system/")},
		{"has no objects", generateArgs(out, "--inventory", emptyDir)},
		{"it names no cluster", []string{"generate", "--flows", flowsFile, "--cluster", "c", "--out", out, "--kubeconfig", empty}},
		{"nothing to write", append([]string{"generate", "--flows", flowsFile, "--cluster", "c", "--out", out}, "--inventory", dir+"/cidr")},
		{"--inventory or --kubeconfig, not both", generateArgs(out, "--kubeconfig", closed)},
		{"x.yaml:3: malformed YAML", generateArgs(out, "--inventory", badYAML)},
		{"does-not-exist", generateArgs(out, "--inventory", "does-not-exist")},
		{"bad.jsonl:1", append(generateArgs(out, "--max-malformed", "0"), "--flows", badFlows)},
		{"https://127.0.0.1:1", []string{"generate", "--flows", flowsFile, "--cluster", "c", "--out", out, "--kubeconfig", closed}},
		{"kubeconfig nope", []string{"generate", "--flows", flowsFile, "--cluster", "c", "--out", out, "--kubeconfig", "nope"}},
		{"10.0.0.0/40", verify(badCIDR)},
		{"NetworkPolicy shop/p", verify(badSelector)},
		{"unknown field spec.ingres", verify(badField)},
		{"no NetworkPolicy in it", verify(inventory)},
		{"does-not-exist", verify("does-not-exist")},
		{"--repo is missing", []string{"propose", "--cluster", "c"}},
		{"no such directory", propose("--repo", "does-not-exist")},
		{"--git-token-file", propose("--repo", dir, "--git-token-file", "nope")},
		{"--body: no file can be made in /proc", propose("--repo", dir, "--body", "/proc/x.md")},
		{"--body " + dir + ": it is there and is not a regular file", propose("--repo", dir, "--body", dir)},
		{"no flows: give --flows", []string{"propose", "--cluster", "c", "--repo", dir}},
		{"an SSH agent", propose("--repo", "ssh://git@127.0.0.1/x.git")},
		{"an SSH agent", propose("--repo", "git@127.0.0.1:x.git")},
		{"open Git repository", []string{"sync", "--cluster", "c", "--repo", dir, "--kubeconfig", closed}},
		{"--repo is missing", []string{"sync", "--cluster", "c"}},
		{"--hubble is missing", []string{"serve", "--cluster", "c", "--repo", dir}},
		{`--hubble "x" is not host:port`, []string{"serve", "--cluster", "c", "--repo", dir, "--hubble", "x"}},
		{"--hubble-ca: open nope", []string{"serve", "--cluster", "c", "--repo", dir, "--hubble", "x:1", "--hubble-ca", "nope"}},
		{"--listen x: ", serve("--listen", "x")},
		{"--state: no file can be made in /proc/x", serve("--state", "/proc/x/y")},
		{"--state: no file can be made in /proc/x", []string{"edges", "--flows", flowsFile, "--state", "/proc/x/y"}},
		{"is JSON, as earlier versions wrote it", []string{"edges", "--flows", flowsFile, "--state", flowsFile}},
		{"--retention 9601h0m0s: give a time up to", serve("--retention", "9601h")},
		{"--body-dir: no file can be made in /proc", serve("--body-dir", "/proc")},
		{"--observe-for -1s", serve("--observe-for", "-1s")},
		{`--dns-node-local "169.254" is not an address`, generateArgs(out, "--dns-node-local", "fd00::a,169.254")},
		{`--dns-service "x": give it`, serve("--dns-service", "x")},
		{`--dns-node-local "x" is not an address`, serve("--dns-node-local", "x")},
		{`--namespace "Bad_"`, serve("-n", "Bad_")},
		{`--hubble "localhost" is not host:port`, serve("--hubble", "localhost")},
		{"--sync-every 0s", []string{"serve", "--cluster", "c", "--repo", dir, "--hubble", "x:1", "--sync-every", "0s"}},
	}
	for _, tt := range tests {
		text, _, failure := bulkhead(t, tt.args...)
		if text != "" {
			t.Errorf("bulkhead %s: it fails and prints\n%s", strings.Join(tt.args, " "), text)
		}
		if !strings.Contains(failure, tt.want) || strings.Contains(failure, "\n") {
			t.Errorf("bulkhead %s:\n got %q\nwant %q in it", strings.Join(tt.args, " "), failure, tt.want)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	if branches := git(t, hollow, "branch", "--list"); branches != "" {
		t.Errorf("branches were made:\n%s", branches)
	}
}

// TestNothingIsClaimed: what could not be written is not reported as written.
func TestNothingIsClaimed(t *testing.T) {
	out, _, failure := bulkhead(t, generateArgs("/proc/x")...)
	if out != "" || !strings.Contains(failure, "--out /proc/x") {
		t.Errorf("%q, and prints\n%s", failure, out)
	}
}

// TestSilentAPIServer: a server that accepts connections and says nothing is an error within 10 s.
func TestSilentAPIServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	start := time.Now()
	_, _, failure := bulkhead(t, "generate", "--flows", flowsFile, "--cluster", "c", "--out", t.TempDir(), "--kubeconfig", kubeconfig(t, "https://"+listener.Addr().String()))
	if took := time.Since(start); took > 10*time.Second || !strings.Contains(failure, listener.Addr().String()) {
		t.Errorf("after %s: %q", took, failure)
	}
}

// TestTooLittleWasSeen: what is only missing from the flows is not denied.
func TestTooLittleWasSeen(t *testing.T) {
	out := t.TempDir()
	for _, c := range []struct {
		args    []string
		failure string // empty: none
		told    string
	}{
		{generateArgs(out, "--min-flows", "1"), "12.8 % of the flows are missing (34 read, 5 lost by the observers, 0 malformed)", ""},
		{generateArgs(out, "--min-flows", "1", "--max-loss", "101"), "--max-loss 101: give a percentage", ""},
		{generateArgs(out, "--min-flows", "1", "--max-loss", "13"), "", "shop: no connection was learned of Deployment shop/silent"},
		{generateArgs(t.TempDir(), "--min-flows", "9", "--max-loss", "13", "-n", "shop,monitoring"), "", "monitoring: left out, because no connection was learned"},
		{generateArgs(t.TempDir(), "--min-flows", "99", "--max-loss", "13", "-n", "shop"), "default-deny alone would isolate its pods", ""},
	} {
		_, errOut, failure := bulkhead(t, c.args...)
		if !strings.Contains(failure, c.failure) || c.failure == "" && failure != "" || !strings.Contains(errOut, c.told) {
			t.Errorf("%v: %q\n%s", c.args, failure, errOut)
		}
	}
}

// TestNoFlows: an empty file is a result, and it is said that it is empty.
func TestNoFlows(t *testing.T) {
	_, errOut, failure := bulkhead(t, "edges", "--flows", write(t, filepath.Join(t.TempDir(), "empty"), ""))
	if failure != "" || errOut != "there were no flows\n" {
		t.Errorf("%q, %q", failure, errOut)
	}
}
