// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/command"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

var updateDocs = flag.Bool("update-docs", false, "write the output of the commands in docs/connections.md into it")

// invoke runs the program with standard input, and returns what main would exit with.
func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := command.New(&stdout, &stderr)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err != nil && err.Error() != "" {
		fmt.Fprintln(&stderr, command.OneLine(err))
	}
	return stdout.String(), stderr.String(), command.ExitCode(err)
}

var (
	yamlBlock    = regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```")
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
)

// TestDocumentation runs the commands of docs/connections.md on the manifests there. What they print is
// what the page says; -update-docs writes it.
func TestDocumentation(t *testing.T) {
	page, err := filepath.Abs("../docs/connections.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, m := range yamlBlock.FindAllSubmatch(text, -1) {
		write(t, string(m[1]), string(m[2]))
	}
	got := consoleBlock.ReplaceAllFunc(text, func(block []byte) []byte {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(string(consoleBlock.FindSubmatch(block)[1])) {
			if words, ok := strings.CutPrefix(line, "$ "); ok {
				b.WriteString(line + shell(t, strings.Fields(words)))
			}
		}
		return []byte(b.String() + "```")
	})
	if *updateDocs {
		if err := os.WriteFile(page, got, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(got, text) {
		t.Errorf("docs/connections.md does not say what the commands print; go test ./generator -run TestDocumentation -update-docs. They print\n%s", got)
	}
}

// shell runs what the page uses of one: cp, bulkhead, and cat into bulkhead.
func shell(t *testing.T, words []string) string {
	t.Helper()
	stdin := ""
	if words[0] == "cat" || words[0] == "cp" {
		content, err := os.ReadFile(words[1])
		if err != nil {
			t.Fatal(err)
		}
		if words[0] == "cp" {
			write(t, words[2], string(content))
			return ""
		}
		stdin, words = string(content), words[3:]
	}
	out, errOut, status := invoke(t, stdin, words[1:]...)
	if status == 2 || errOut != "" {
		t.Fatalf("%s: status %d: %s", strings.Join(words, " "), status, errOut)
	}
	return out
}

// TestChart: what helm prints goes straight into connections.
func TestChart(t *testing.T) {
	helm, err := cluster.Tool(t.Context(), "helm", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), helm, "template", "bulkhead", "../charts/bulkhead", "--namespace", "bulkhead-system")
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	rendered, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out, errOut, status := invoke(t, string(rendered), "connections", "-", "-o", "csv")
	if status != 0 || !strings.Contains(errOut, "skipped") {
		t.Errorf("status %d, %s", status, errOut)
	}
	for _, want := range []string{"Deployment bulkhead-system/bulkhead-webhook", "source,destination,protocol,ports"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if out, errOut, status := invoke(t, string(rendered), "connections", "-", "-o", "table", "--from", "bulkhead-system/nobody"); status != 1 || out != "" {
		t.Errorf("a workload that is not there: status %d, %s%s", status, out, errOut)
	}
}

const (
	webAndAPI = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, spec: {containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop}}
---
`
	closed = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: shop}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}\n"
	faulty = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: faulty, namespace: shop},\n spec: {podSelector: {}, ingress: [{from: [{ipBlock: {\n  cidr: ten}}]}]}}\n"
)

func TestDrawings(t *testing.T) {
	for output, want := range map[string]string{"dot": "digraph ", "mermaid": "flowchart ", "svg": "<svg "} {
		if out, errOut, status := invoke(t, webAndAPI, "connections", "-", "-o", output); status != 0 || !strings.HasPrefix(out, want) || !strings.Contains(out, "web") {
			t.Errorf("-o %s: status %d, %s%.200s", output, status, errOut, out)
		}
	}
}

// TestNamespace: with -n, each line has the namespace at one end.
func TestNamespace(t *testing.T) {
	bank := "---\n{apiVersion: v1, kind: Pod, metadata: {name: vault, namespace: bank}, spec: {containers: [{name: c, image: i}]}}\n"
	out, _, status := invoke(t, webAndAPI+bank, "connections", "-", "-n", "bank", "-o", "csv")
	rows := strings.Split(strings.TrimSpace(out), "\n")[1:]
	if status != 0 || len(rows) != 9 {
		t.Errorf("status %d, %d lines", status, len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(row, "Pod bank/vault") {
			t.Errorf("a line of another namespace: %s", row)
		}
	}
}

// TestConnectionsErrors: the exit status and the message say what to do, and nothing is printed half.
func TestConnectionsErrors(t *testing.T) {
	dir := t.TempDir()
	open, shut := write(t, filepath.Join(dir, "open.yaml"), webAndAPI), write(t, filepath.Join(dir, "closed.yaml"), webAndAPI+closed)
	bad := write(t, filepath.Join(dir, "bad.yaml"), faulty)
	const cidr = "bad.yaml:3: NetworkPolicy shop/faulty: spec.ingress[0].from[0].ipBlock.cidr: "
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"connections", 1, "give files or folders, - for standard input, or --kubeconfig"},
		{"connections --kubeconfig k " + open, 1, "not both"},
		{"connections -o xml " + open, 1, "--output \"xml\": give one of table, json, csv, dot, mermaid, svg"},
		{"connections " + bad, 1, cidr},
		{"connections --to shop/cache " + open, 1, "--to shop/cache: there is no such workload; give namespace/name"},
		{"connections -n bank " + open, 1, "--namespace bank: there is no workload in it"},
		{"diff " + open, 2, "give two paths, OLD and NEW, not 1"},
		{"diff --fast " + open, 2, "unknown flag: --fast"},
		{"diff - -", 2, "only one of OLD and NEW can be standard input"},
		{"diff -o csv " + open + " " + shut, 2, "--output \"csv\": give one of table, json, markdown"},
		{"diff " + bad + " " + open, 2, "OLD: "},
		{"diff " + open + " " + bad, 2, cidr},
		{"diff " + open + " " + filepath.Join(dir, "nowhere"), 2, "NEW: read manifests: "},
	} {
		out, errOut, status := invoke(t, "", strings.Fields(tt.args)...)
		if out != "" || status != tt.status || !strings.Contains(errOut, tt.want) {
			t.Errorf("%s: status %d, prints %q and says %q, want %d and %q", tt.args, status, out, errOut, tt.status, tt.want)
		}
	}
}

func TestDiffStatus(t *testing.T) {
	dir := t.TempDir()
	open, shut := write(t, filepath.Join(dir, "open.yaml"), webAndAPI), write(t, filepath.Join(dir, "closed.yaml"), webAndAPI+closed)
	out, errOut, status := invoke(t, webAndAPI, "diff", open, "-", "-o", "json")
	if status != 0 || out != "[]\n" || strings.Count(errOut, "1 ConfigMap") != 2 {
		t.Errorf("the same: status %d, %s%s", status, out, errOut)
	}
	if out, _, status := invoke(t, "", "diff", open, open, "-o", "markdown"); status != 0 || out != "**Connections:** no change.\n" {
		t.Errorf("the same: status %d, %s", status, out)
	}
	var changes []struct {
		Change, Source, Destination string
		Old, New, Added, Removed    []struct{ Protocol, Ports string }
		Because                     []struct{ Side, Object, Path, Effect, At string }
	}
	out, _, status = invoke(t, "", "diff", shut, open, "-o", "json")
	if err := json.Unmarshal([]byte(out), &changes); err != nil || status != 1 || len(changes) != 12 {
		t.Fatalf("opened: %v, status %d, %d changes\n%s", err, status, len(changes), out)
	}
	c := changes[0]
	if c.Change != "added" || c.Source != "Pod shop/api" || c.Destination != "Pod shop/api" || len(c.Old) != 0 || len(c.Added) != 1 || c.Added[0].Protocol != "All" || c.Added[0].Ports != "" {
		t.Errorf("the first change is %+v", c)
	}
	if b := c.Because[0]; b.Side != "old" || b.Effect != "isolates" || b.Object != "NetworkPolicy shop/closed" || !strings.HasSuffix(b.At, "closed.yaml:7") {
		t.Errorf("because of %+v", b)
	}
}

// TestMarkdownFolds: a long list does not fill a pull request, and names cannot break the table.
func TestMarkdownFolds(t *testing.T) {
	var many strings.Builder
	for i := range 6 {
		fmt.Fprintf(&many, "---\n{apiVersion: v1, kind: Pod, metadata: {name: 'w%d|`', namespace: shop, labels: {app: w%d}}, spec: {containers: [{name: c, image: i}]}}\n", i, i)
	}
	dir := t.TempDir()
	open, shut := write(t, filepath.Join(dir, "open.yaml"), many.String()), write(t, filepath.Join(dir, "closed.yaml"), many.String()+"---\n"+closed)
	out, _, _ := invoke(t, "", "diff", shut, open, "-o", "markdown")
	for _, want := range []string{"**Connections:** 60 added, 0 changed, 0 removed.\n", "<details><summary>Added: 60 connections</summary>\n\n| from |", "\n\n</details>\n", "| `Pod shop/w0¦'` | `any pod` | `all` |"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%.800s", want, out)
		}
	}
}

// TestConnectionsOfACluster reads from an API server; it has no ClusterNetworkPolicies.
func TestConnectionsOfACluster(t *testing.T) {
	items := map[string]string{
		"/api/v1/pods": `{"metadata":{"name":"web","namespace":"shop","labels":{"app":"web"}},"spec":{"containers":[]},"status":{"phase":"Running","podIP":"10.0.0.1"}},
			{"metadata":{"name":"api","namespace":"shop","labels":{"app":"api"}},"spec":{"containers":[]},"status":{"phase":"Running","podIP":"10.0.0.2"}}`,
		"/apis/networking.k8s.io/v1/networkpolicies": `{"metadata":{"name":"p","namespace":"shop"},"spec":{"podSelector":{},"policyTypes":["Ingress","Egress"],
			"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.1/32"}}],"ports":[{"port":80}]}],"egress":[{"to":[{"podSelector":{}}]}]}}`,
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			fmt.Fprint(w, `{"gitVersion":"v1.37.0"}`)
			return
		}
		if strings.Contains(r.URL.Path, "policy.networking.k8s.io") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"metadata":{},"items":[%s]}`, items[r.URL.Path])
	}))
	defer api.Close()
	out, errOut, status := invoke(t, "", "connections", "--kubeconfig", kubeconfig(t, api.URL), "-o", "csv", "--exposure=false")
	want := "source,destination,protocol,ports\nPod shop/web,Pod shop/api,TCP,80\nPod shop/web,Pod shop/web,TCP,80\n"
	if status != 0 || out != want {
		t.Errorf("status %d, %s\n%s, want\n%s", status, errOut, out, want)
	}
}
