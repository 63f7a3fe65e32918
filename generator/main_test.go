// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// begun is a bare repository whose branch main has one commit, without files.
func begun(t *testing.T) (bare string) {
	t.Helper()
	bare = filepath.Join(t.TempDir(), "p.git")
	git(t, ".", "init", "-q", "--bare", "-b", "main", bare)
	git(t, bare, "update-ref", "refs/heads/main", strings.TrimSpace(git(t, bare, "commit-tree", "-m", "first", strings.TrimSpace(git(t, bare, "mktree")))))
	return bare
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

// TestBusyNodeInState: a node that lost most of its flows is refused for in later runs, too, which read other files.
func TestBusyNodeInState(t *testing.T) {
	dir := t.TempDir()
	content, err := os.ReadFile(flowsFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(content), "\n"), func(line string) bool { return strings.Contains(line, "lost_events") })
	day := strings.Repeat(strings.Join(lines, ""), 4000/len(lines))
	lost := `{"node_name":"busy","lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"100"}}` + "\n"
	args := []string{"--state", filepath.Join(dir, "state.db"), "--min-flows", "1", "--max-loss", "7", "--flows"}
	for _, file := range []string{write(t, filepath.Join(dir, "monday.jsonl"), day+lost), write(t, filepath.Join(dir, "tuesday.jsonl"), day)} {
		if _, _, failure := bulkhead(t, generateArgs(dir, append(args, file)...)...); !strings.Contains(failure, "node busy lost 100 % of its flows (0 read, 100 lost)") {
			t.Errorf("with %s it says %q", file, failure)
		}
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

// TestDNS: what was assumed is said, what the flags say is used, and the command that reproduces it says it again.
func TestDNS(t *testing.T) {
	const other = "internal/proposal/testdata/overlap/" // without DNS
	out := t.TempDir()
	_, errOut, failure := bulkhead(t, "generate", "--flows", other+"flows.jsonl", "--inventory", other+"inventory", "--cluster", "c", "--out", out)
	if want := "no DNS found, the baseline allows pods k8s-app=kube-dns in kube-system on port 53: no DNS Service was found"; failure != "" || !strings.Contains(errOut, want) {
		t.Errorf("%q, want %q in\n%s", failure, want, errOut)
	}
	bare, body := begun(t), filepath.Join(out, "pr.md")
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

func TestHelpTeaches(t *testing.T) {
	for _, name := range []string{"edges", "generate", "verify", "propose", "sync", "serve"} {
		out := mustRun(t, name, "--help")
		if !strings.Contains(out, "Examples:") || !strings.Contains(out, "bulkhead "+name+" --") {
			t.Errorf("bulkhead %s --help has no example:\n%s", name, out)
		}
	}
}
