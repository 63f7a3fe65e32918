// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/command"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
)

const (
	testCase  = "internal/proposal/testdata/three-tier/"
	flowsFile = testCase + "flows.jsonl"
	inventory = testCase + "inventory"
)

// bulkhead runs the program as main does, and returns what it writes and its one-line error. The case has few flows,
// and some are lost: that is allowed unless args say otherwise.
func bulkhead(t *testing.T, args ...string) (out, errOut string, failure string) {
	t.Helper()
	if len(args) > 2 && !slices.Contains(args, "--min-flows") {
		switch args[0] {
		case "generate", "propose":
			args = append(args, "--min-flows", "1", "--max-loss", "20")
		case "verify":
			args = append(args, "--min-flows", "1")
		}
	}
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), args, &stdout, &stderr); err != nil {
		failure = command.OneLine(err)
	}
	return stdout.String(), stderr.String(), failure
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, _, failure := bulkhead(t, args...)
	if failure != "" {
		t.Fatalf("bulkhead %s: %s", strings.Join(args, " "), failure)
	}
	return out
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Kim", "GIT_AUTHOR_EMAIL=k@example.com", "GIT_COMMITTER_NAME=Kim", "GIT_COMMITTER_EMAIL=k@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "config"), fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, server))
}

func generateArgs(out string, more ...string) []string {
	return append([]string{"generate", "--flows", flowsFile, "--inventory", inventory, "--cluster", "demo", "--out", out}, more...)
}

func TestEdges(t *testing.T) {
	out := mustRun(t, "edges", "--flows", flowsFile, "--flows", flowsFile, "-o", "json")
	var edges []struct {
		From  struct{ Kind, Namespace, Name string }
		Port  int
		Flows int
	}
	if err := json.Unmarshal([]byte(out), &edges); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range edges {
		found = found || e.From.Name == "frontend" && e.Port == 3000 && e.Flows == 6 // read twice, counted once
	}
	if !found {
		t.Errorf("no edge frontend → 3000 with 6 flows:\n%s", out)
	}
	if csv := mustRun(t, "edges", "--flows", flowsFile, "-o", "csv"); strings.Count(csv, "\n") != len(edges)+1 {
		t.Errorf("csv has not %d rows and a header:\n%s", len(edges), csv)
	}
	if table := mustRun(t, "edges", "--flows", flowsFile); !strings.HasPrefix(table, "FROM") {
		t.Errorf("table:\n%s", table)
	}
}

// TestState: a run that stops is gone on with, in parts and with inputs read again, and in the end it is as if
// all was read at once.
func TestState(t *testing.T) {
	dir := t.TempDir()
	content, err := os.ReadFile(flowsFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(content)), "\n")
	monday := write(t, filepath.Join(dir, "monday.jsonl"), strings.Join(lines[:len(lines)/2], ""))
	tuesday, state := filepath.Join(dir, "tuesday.jsonl"), filepath.Join(dir, "state.db")
	edges := func(files ...string) []string {
		args := []string{"edges", "-o", "json", "--inventory", inventory, "--state", state}
		for _, f := range files {
			args = append(args, "--flows", f)
		}
		return args
	}
	if _, _, failure := bulkhead(t, edges(monday, tuesday)...); !strings.Contains(failure, "tuesday.jsonl: no such file") {
		t.Fatalf("without Tuesday it says %q", failure)
	}
	write(t, tuesday, strings.Join(lines[len(lines)/2:], ""))
	info, err := os.Stat(monday)
	if err != nil {
		t.Fatal(err)
	}
	write(t, monday, strings.Repeat("x", int(info.Size()))) // it has been read, and is not read again
	if err := os.Chtimes(monday, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	want := mustRun(t, "edges", "-o", "json", "--inventory", inventory, "--flows", flowsFile)
	for _, files := range [][]string{{tuesday, monday}, {tuesday}, {flowsFile}} {
		if got := mustRun(t, edges(files...)...); got != want {
			t.Errorf("with %v it prints\n%s\nwant\n%s", files, got, want)
		}
	}
	if _, errOut, _ := bulkhead(t, edges(tuesday)...); strings.Contains(errOut, "there were no flows") {
		t.Errorf("what is in the state is not counted: %s", errOut)
	}
}

// TestGenerateThenVerify: what is written is proven by the other command, from the files alone.
func TestGenerateThenVerify(t *testing.T) {
	out := t.TempDir()
	mustRun(t, generateArgs(out)...)
	policies := filepath.Join(out, "clusters/demo/shop")
	verify := []string{"verify", "--flows", flowsFile, "--inventory", inventory, "--policies", policies}
	if text := mustRun(t, verify...); !strings.Contains(text, "proven:") {
		t.Errorf("verify says %s", text)
	}
	if again := mustRun(t, generateArgs(out)...); !strings.Contains(again, "shop: nothing changed") {
		t.Errorf("generating again says %s", again)
	}
	api := filepath.Join(policies, "api.yaml")
	content, err := os.ReadFile(api)
	if err != nil {
		t.Fatal(err)
	}
	write(t, api, strings.Replace(string(content), "port: 3000", "port: 3001", 1))
	text, _, failure := bulkhead(t, verify...)
	if !strings.HasPrefix(failure, "not proven: 1 connections") || !strings.Contains(text, "not allowed: Deployment shop/frontend → Deployment shop/api TCP/3000") {
		t.Errorf("a changed port: %q\n%s", failure, text)
	}
	var report struct{ Proven bool }
	text, _, _ = bulkhead(t, append(verify, "-o", "json")...)
	if err := json.Unmarshal([]byte(text), &report); err != nil || report.Proven {
		t.Errorf("%v, %+v", err, report)
	}
	if text := mustRun(t, "generate", "--flows", flowsFile, "--inventory", inventory, "--out", out); !strings.Contains(text, "clusters/default/shop: 4 policies") {
		t.Errorf("without a cluster's name generate says %s", text)
	}
}

func TestPropose(t *testing.T) {
	dir := t.TempDir()
	bare, clone, body := filepath.Join(dir, "p.git"), filepath.Join(dir, "clone"), filepath.Join(dir, "pr.md")
	git(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	args := []string{"propose", "--flows", flowsFile, "--inventory", inventory, "--cluster", "demo", "-n", "shop", "--repo", bare, "--body", body}
	if _, _, failure := bulkhead(t, args...); !strings.Contains(failure, "branch main") {
		t.Errorf("an empty repository: %q", failure)
	}
	git(t, dir, "clone", "-q", bare, clone)
	git(t, clone, "checkout", "-q", "-b", "main")
	git(t, clone, "commit", "-q", "--allow-empty", "-m", "first")
	git(t, clone, "push", "-q", "origin", "HEAD")

	if out := mustRun(t, args...); !strings.Contains(out, "on branch bulkhead/demo/shop") {
		t.Errorf("propose says %s", out)
	}
	for _, file := range []string{"api.yaml", "evidence.json", "kustomization.yaml"} {
		want, err := os.ReadFile(testCase + "want/shop/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got := git(t, bare, "show", "bulkhead/demo/shop:clusters/demo/shop/"+file); got != string(want) {
			t.Errorf("%s on the branch is not as expected:\n%s", file, got)
		}
	}
	text, err := os.ReadFile(body)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, section := range []string{"## Risks", "## Connections added", "## Connections removed", "## Evidence", "## What would break", "## Reproduce"} {
		i := strings.Index(string(text), section)
		if i < at {
			t.Errorf("%s is missing or out of order", section)
		}
		at = i
	}
	if out := mustRun(t, args...); !strings.Contains(out, "nothing to propose") {
		t.Errorf("the second time: %s", out)
	}
	git(t, clone, "fetch", "-q")
	git(t, clone, "merge", "-q", "--no-ff", "-m", "approved", "origin/bulkhead/demo/shop")
	git(t, clone, "push", "-q", "origin", "main")
	if out := mustRun(t, args...); !strings.Contains(out, "the base branch says the same") {
		t.Errorf("after the merge: %s", out)
	}
}

// newConnection is a flow that the case does not have, hours later.
const newConnection = `{"flow":{"time":"2026-11-21T00:00:00Z","uuid":"new","verdict":"AUDIT","IP":{"source":"10.0.1.50","destination":"10.0.1.30"},` +
	`"l4":{"TCP":{"source_port":1,"destination_port":5432}},"source":{"namespace":"shop","pod_name":"silent-1","workloads":[{"kind":"Deployment","name":"silent"}]},` +
	`"destination":{"namespace":"shop","pod_name":"database-0"},"Type":"L3_L4","traffic_direction":"EGRESS","is_reply":false}}` + "\n"

// TestProposeKeepsAPersonsEdit: what a person changed in an approved file stays, comments included,
// and the pull request says what it denies.
func TestProposeKeepsAPersonsEdit(t *testing.T) {
	dir := t.TempDir()
	bare, clone, body := filepath.Join(dir, "p.git"), filepath.Join(dir, "clone"), filepath.Join(dir, "pr.md")
	git(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	git(t, dir, "clone", "-q", bare, clone)
	git(t, clone, "checkout", "-q", "-b", "main")
	mustRun(t, generateArgs(clone, "-n", "shop")...)
	api := filepath.Join(clone, "clusters/demo/shop/api.yaml")
	content, err := os.ReadFile(api)
	if err != nil {
		t.Fatal(err)
	}
	edited := "# Kim: 3333 from next week on\n" + strings.Replace(string(content), "port: 3000", "port: 3333", 1)
	write(t, api, edited)
	git(t, clone, "add", "-A")
	git(t, clone, "commit", "-q", "-m", "approved, with an edit")
	git(t, clone, "push", "-q", "origin", "HEAD")

	more := write(t, filepath.Join(dir, "more.jsonl"), newConnection)
	mustRun(t, "propose", "--flows", flowsFile, "--flows", more, "--inventory", inventory, "--cluster", "demo", "-n", "shop", "--repo", bare, "--body", body)
	if got := git(t, bare, "show", "bulkhead/demo/shop:clusters/demo/shop/api.yaml"); got != edited {
		t.Errorf("the person's file became\n%s", got)
	}
	if got := git(t, bare, "diff", "--stat", "main", "bulkhead/demo/shop"); !strings.Contains(got, "silent.yaml") || strings.Contains(got, "frontend.yaml") {
		t.Errorf("changed files:\n%s", got)
	}
	text, err := os.ReadFile(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- `api.yaml: spec.ingress[1].ports[0]` is a person's",
		"## Connections added\n\n- `Deployment shop/silent → StatefulSet shop/database TCP/5432`\n\n",
		"## What would break\n\n- `Deployment shop/frontend → Deployment shop/api TCP/3000`, because of a file that a person edited",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the pull request lacks %q:\n%s", want, text)
		}
	}
}

// TestDNS: what was assumed is said, what the flags say is used, and the command that reproduces it says it again.
func TestDNS(t *testing.T) {
	const other = "internal/proposal/testdata/overlap/" // without DNS
	out := t.TempDir()
	_, errOut, failure := bulkhead(t, "generate", "--flows", other+"flows.jsonl", "--inventory", other+"inventory", "--cluster", "c", "--out", out)
	if want := "no DNS found, the baseline allows pods k8s-app=kube-dns in kube-system on port 53: no DNS Service was found"; failure != "" || !strings.Contains(errOut, want) {
		t.Errorf("%q, want %q in\n%s", failure, want, errOut)
	}
	bare, body := filepath.Join(out, "p.git"), filepath.Join(out, "pr.md")
	git(t, out, "init", "-q", "--bare", "-b", "main", bare)
	git(t, bare, "update-ref", "refs/heads/main", strings.TrimSpace(git(t, bare, "commit-tree", "-m", "first", strings.TrimSpace(git(t, bare, "mktree")))))
	flags := []string{"--dns-service", "kube-system/kube-dns", "--dns-node-local", "169.254.20.10,fd00::a"}
	_, errOut, failure = bulkhead(t, append([]string{"propose", "--flows", flowsFile, "--inventory", inventory, "--cluster", "c", "-n", "shop", "--repo", bare, "--body", body}, flags...)...)
	if failure != "" || strings.Contains(errOut, "no DNS found") {
		t.Errorf("%q\n%s", failure, errOut)
	}
	if got := git(t, bare, "show", "bulkhead/c/shop:clusters/c/shop/baseline.yaml"); !strings.Contains(got, "cidr: fd00::a/128") {
		t.Errorf("the baseline lacks the named cache:\n%s", got)
	}
	if text, err := os.ReadFile(body); err != nil || !strings.Contains(string(text), strings.Join(flags, " ")) {
		t.Errorf("want the flags in the command that reproduces it: %v\n%s", err, text)
	}
}

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

// TestNoFlows: an empty file is a result, and it is said that it is empty.
func TestNoFlows(t *testing.T) {
	_, errOut, failure := bulkhead(t, "edges", "--flows", write(t, filepath.Join(t.TempDir(), "empty"), ""))
	if failure != "" || errOut != "there were no flows\n" {
		t.Errorf("%q, %q", failure, errOut)
	}
}

// TestNoBaseBranch: one sentence, however many namespaces there are, for a repository in place and for a copied one.
func TestNoBaseBranch(t *testing.T) {
	dir := t.TempDir()
	bare, clone := filepath.Join(dir, "p.git"), filepath.Join(dir, "clone")
	git(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	propose := func(location, base string) {
		t.Helper()
		for _, output := range []string{"text", "json"} {
			out, _, failure := bulkhead(t, "propose", "--flows", flowsFile, "--inventory", inventory, "--cluster", "c", "-o", output, "--repo", location, "--base", base)
			if out != "" || strings.Count(failure, "branch "+base+" of Git repository") != 1 || !strings.Contains(failure, "--base") {
				t.Errorf("%s, --base %s: %q\n%s", location, base, failure, out)
			}
		}
	}
	propose(bare, "main")
	propose("file://"+bare, "main")
	git(t, dir, "clone", "-q", bare, clone)
	git(t, clone, "checkout", "-q", "-b", "main")
	git(t, clone, "commit", "-q", "--allow-empty", "-m", "first")
	git(t, clone, "push", "-q", "origin", "HEAD")
	propose(bare, "nope")
	propose("file://"+bare, "nope")
}

// TestSyncOfNothing: an error stands alone, without an empty table beside it.
func TestSyncOfNothing(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"gitVersion":"v1.37.0"}`) }))
	defer api.Close()
	repository := t.TempDir()
	git(t, repository, "init", "-q", "-b", "main")
	git(t, repository, "commit", "-q", "--allow-empty", "-m", "first")
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"nothing is approved", nil},
		{`cluster name "a/b"`, []string{"--cluster", "a/b"}},
		{"branch nope", []string{"--base", "nope"}},
		{"nothing is approved", []string{"-o", "json"}},
	} {
		out, _, failure := bulkhead(t, append([]string{"sync", "--cluster", "c", "--repo", repository, "--kubeconfig", kubeconfig(t, api.URL)}, tt.args...)...)
		if out != "" || !strings.Contains(failure, tt.want) {
			t.Errorf("%v: %q, and prints\n%s", tt.args, failure, out)
		}
	}
}

// TestEdgesOverTLS: the flags reach the observer, and the name in its certificate need not be its address.
func TestEdgesOverTLS(t *testing.T) {
	ca := flowstest.NewAuthority(t)
	l := flowstest.Listen(t, "127.0.0.1:0")
	flowstest.ServeOn(t, l, ca.Server(t, "node.test"), flowstest.Flow("a"))
	args := append([]string{"edges", "-o", "csv", "--hubble", l.Addr().String()}, ca.Client(t, t.TempDir()).Words()...)
	if out := mustRun(t, append(args, "--hubble-server-name", "node.test")...); !strings.Contains(out, "Deployment shop/web,Deployment shop/api,TCP,3000") {
		t.Errorf("edges:\n%s", out)
	}
	if _, _, failure := bulkhead(t, args...); !strings.Contains(failure, "127.0.0.1") {
		t.Errorf("by its address: %q; want it refused, because its certificate has another name", failure)
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

func TestHelpTeaches(t *testing.T) {
	for _, name := range []string{"edges", "generate", "verify", "propose", "sync", "serve"} {
		out := mustRun(t, name, "--help")
		if !strings.Contains(out, "Examples:") || !strings.Contains(out, "bulkhead "+name+" --") {
			t.Errorf("bulkhead %s --help has no example:\n%s", name, out)
		}
	}
}

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
