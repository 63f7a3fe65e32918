// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
