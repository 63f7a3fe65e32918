// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/trace"
)

// kubeconfig writes one for a server that needs no credentials.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"users: [{name: u, user: {}}]\nclusters: [{name: c, cluster: {server: %q}}]\n", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongArguments(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	node := []string{"--node-name=n", "--http-addr=127.0.0.1:0", "--hubble-addr=127.0.0.1:0"}
	with := func(args ...string) []string { return append(append([]string{}, node...), args...) }
	apiServer := kubeconfig(t, "http://127.0.0.1:1")
	for want, args := range map[string][]string{
		"--node-name (or $NODE_NAME) is missing": {},
		"unknown flag: --nope":                   {"--nope"},
		`unknown command "enforce"`:              {"enforce"},
		"--pin-path \"bulkhead\"":                with("--pin-path=bulkhead"),
		"--nri-socket \"nri.sock\"":              with("--nri-socket=nri.sock"),
		"--deny-with \"deny\"":                   with("--deny-with=deny"),
		"--dns-service \"kube-dns\"":             with("--dns-service=kube-dns"),
		"--dns-service \"a/b/c\"":                with("--dns-service=a/b/c"),
		"\"--dns-node-local\" flag":              with("--dns-node-local=kube-dns"),
		"--netns-path \"\"":                      with("--netns-path="),
		"--http-addr here is not host:port":      with("--http-addr=here"),
		"--flow-interval 1ms":                    with("--flow-interval=1ms"),
		"--flow-buffer 0":                        with("--flow-buffer=0"),
		"--connections 1 ":                       with("--connections=1"),
		"--log-level \"loud\"":                   with("--log-level=loud"),
		"--log-format \"xml\"":                   with("--log-format=xml"),
		"no --kubeconfig is given":               with(),
		"read --kubeconfig /does/not/exist":      with("--kubeconfig=/does/not/exist"),
		"it names no cluster":                    with("--kubeconfig=" + write(t, "")),
		"--hubble-addr here is not host:port":    with("--kubeconfig="+apiServer, "--hubble-addr=here"),
		"in plain text beyond this node":         with("--kubeconfig="+apiServer, "--hubble-addr=:0"),
		"go together":                            with("--kubeconfig="+apiServer, "--hubble-tls-cert=/does/not/exist"),
		"needs --hubble-tls-cert":                with("--kubeconfig="+apiServer, "--hubble-tls-client-ca=/does/not/exist"),
		"read the Observer API's certificate":    with("--kubeconfig="+apiServer, "--hubble-tls-cert=/no/cert", "--hubble-tls-key=/no/key"),
		"serve health and metrics on":            with("--kubeconfig="+apiServer, "--http-addr=192.0.2.1:0"),
		"serve the Observer API on":              with("--kubeconfig="+apiServer, "--hubble-addr=192.0.2.1:0", "--hubble-insecure"),
		"reach the API server at http://127.0.0": with("--kubeconfig=" + apiServer),
		"cannot unmarshal":                       with("--kubeconfig=" + write(t, "clusters: 3")),
		"--output \"text\"":                      {"status", "-o", "text"},
		"--http-addr nowhere is not host:port":   {"status", "--http-addr=nowhere"},
		"is one running on this node":            {"status", "--http-addr=127.0.0.1:1"},
		"with the same --http-addr?":             {"trace", "--from=a/b", "--to=a/c", "--port=1", "--http-addr=127.0.0.1:1"},
		"--output \"table\"":                     {"trace", "-o", "table"},
		"same --http-addr":                       {"monitor", "--http-addr=127.0.0.1:1"},
		"--verdict \"lost\"":                     {"monitor", "--verdict=lost"},
		"--output \"xml\"":                       {"monitor", "-o", "xml"},
	} {
		for _, command := range [][]string{nil, {"run"}} {
			if len(args) > 0 && !strings.HasPrefix(args[0], "--") {
				command = nil
			}
			err := run(t.Context(), append(append([]string{}, command...), args...), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v %v: %v; want an error with %q", command, args, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%v %v: the error has more than one line: %v", command, args, err)
			}
		}
	}
}

// An API server that takes connections and never answers must not keep the start waiting.
func TestSilentAPIServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	err = run(t.Context(), []string{
		"--node-name=n", "--http-addr=127.0.0.1:0", "--hubble-addr=127.0.0.1:0", "--kubeconfig=" + kubeconfig(t, "http://"+l.Addr().String()),
	}, io.Discard, io.Discard)
	if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "reach the API server") || took > 10*time.Second {
		t.Errorf("after %s: %v; want a clear error within 10 s", took, err)
	}
}

func TestExplainTellsWhoIsNotRoot(t *testing.T) {
	denied := &fs.PathError{Op: "mkdir", Path: "/sys/fs/bpf/bulkhead", Err: syscall.EPERM}
	if err := explain(denied, 65534); !errors.Is(err, denied) || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("got %v, want the error and what to do", err)
	}
	for name, err := range map[string]error{"by root": explain(denied, 0), "another": explain(io.EOF, 65534)} {
		if strings.Contains(err.Error(), "root") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := explain(nil, 65534); err != nil {
		t.Errorf("without an error: %v", err)
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, command := range []string{"", "run", "status", "monitor", "trace"} {
		var help bytes.Buffer
		if err := run(t.Context(), append(strings.Fields(command), "--help"), &help, io.Discard); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(help.String(), "Examples:\n  bulkhead-enforcer") {
			t.Errorf("%q: no examples in\n%s", command, &help)
		}
	}
}

const answer = `{"node":"n1","ready":false,"problems":["find the interface of pod a/b: none"],"generation":7,"sets":2,
"loadedAt":"2026-11-21T12:00:00Z","pendingSince":"2026-11-21T12:01:00Z","updatedAt":"2026-11-21T12:00:30Z",
"selfTest":{"at":"2026-11-21T12:00:01Z","passed":false,"problem":"the hook on packets to pods let 5 of 5 packets of IPv4 pass"},
"maps":[{"name":"connections","entries":65536,"capacity":262144}],
"endpoints":[{"namespace":"shop","pod":"api-1","ifindex":12,"mode":"enforce","set":1,"attached":true}],"flows":{"seen":9,"lost":1,"overwritten":0}}`

// agentAnswers serves a text at every path, as an agent would.
func agentAnswers(t *testing.T, text string) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestStatus(t *testing.T) {
	addr := agentAnswers(t, answer)
	var table bytes.Buffer
	if err := run(t.Context(), []string{"status", "--http-addr=" + addr}, &table, io.Discard); exitCode(err) != 1 || err.Error() != "" {
		t.Fatalf("not ready: %v with exit status %d, want 1 and no more words", err, exitCode(err))
	}
	for _, want := range []string{
		"n1 (NOT READY)", "find the interface of pod a/b", "9 seen, 1 lost", "shop       api-1  enforce  1    12         true",
		"7, since 2026-11-21T12:00:00Z (", "not all enforced, since 2026-11-21T12:01:00Z (", "FAILED, 2026-11-21T12:00:01Z (",
		"connections: 65536 of 262144 (25 %)",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	var want any
	_ = json.Unmarshal([]byte(answer), &want)
	for format, unmarshal := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(text []byte, into any) error { return yaml.Unmarshal(text, into) },
	} {
		var text bytes.Buffer
		var got any
		if err := run(t.Context(), []string{"status", "-o", format, "--http-addr=" + addr}, &text, io.Discard); exitCode(err) != 1 {
			t.Errorf("%s: exit status %d, want 1", format, exitCode(err))
		}
		if err := unmarshal(text.Bytes(), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v\ngot  %v\nwant %v", format, err, got, want)
		}
	}
	addr = agentAnswers(t, `{"node":"n1","ready":true,"generation":7,"endpoints":[]}`)
	if err := run(t.Context(), []string{"status", "--http-addr=" + addr}, &table, io.Discard); exitCode(err) != 0 {
		t.Errorf("ready: %v, want exit status 0", err)
	}
	if err := run(t.Context(), []string{"status", "--nope"}, io.Discard, io.Discard); exitCode(err) != 2 {
		t.Errorf("a wrong flag: %v with exit status %d, want 2", err, exitCode(err))
	}
}

// Ctrl-C ends the monitor cleanly, also on a quiet node.
func TestMonitorEnds(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.(http.Flusher).Flush()
		interrupt()
		<-req.Context().Done()
	}))
	defer server.Close()
	var out, logs bytes.Buffer
	err := run(ctx, []string{"monitor", "--http-addr=" + strings.TrimPrefix(server.URL, "http://")}, &out, &logs)
	if exitCode(err) != 0 || out.Len()+logs.Len() > 0 {
		t.Errorf("%v, exit status %d, out %q, logs %q; want a clean end", err, exitCode(err), &out, &logs)
	}
}

const traceAnswer = `{"allowed":false,"passes":false,"answer":"Pod shop/web → Pod shop/api TCP/80 is denied by the ingress side.",
"from":"shop/web","to":"shop/api","protocol":"TCP","port":80,"node":"n1","generation":7,
"egress":{"judged":true,"allowed":true,"passes":true,"reason":"NotIsolated","because":"no policy isolates the pod in this direction","self":{"pod":"shop/web"},"peer":{}},
"ingress":{"judged":true,"allowed":false,"passes":false,"reason":"NoRule","because":"a policy isolates the pod, and no rule of it matches",
"self":{"pod":"shop/api"},"peer":{},"by":[{"kind":"NetworkPolicy","namespace":"shop","name":"deny","direction":"Ingress","index":-1,"path":"spec"}]}}`

func TestTrace(t *testing.T) {
	question := []string{"trace", "--from=shop/web", "--to=shop/api", "--port=80", "--http-addr=" + agentAnswers(t, traceAnswer)}
	var text bytes.Buffer
	if err := run(t.Context(), question, &text, io.Discard); exitCode(err) != 1 || err.Error() != "" {
		t.Errorf("denied: %v with exit status %d, want 1 and no more words", err, exitCode(err))
	}
	for _, want := range []string{"is denied by the ingress side.\n", "Judged on node n1, by generation 7.", "isolated by  NetworkPolicy shop/deny  spec\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	for _, format := range []string{"json", "yaml"} {
		var text bytes.Buffer
		var got trace.Report
		if err := run(t.Context(), append(question, "-o", format), &text, io.Discard); exitCode(err) != 1 {
			t.Errorf("%s: exit status %d, want 1", format, exitCode(err))
		}
		if err := yaml.UnmarshalStrict(text.Bytes(), &got); err != nil || got.Generation != 7 || got.Ingress.By[0].Name != "deny" {
			t.Errorf("%s: %v, %+v", format, err, got)
		}
	}
	question[4] = "--http-addr=" + agentAnswers(t, strings.Replace(traceAnswer, `"allowed":false`, `"allowed":true`, 1))
	if err := run(t.Context(), question, io.Discard, io.Discard); exitCode(err) != 0 {
		t.Errorf("allowed: %v, want exit status 0", err)
	}
	question[4] = "--http-addr=127.0.0.1:1"
	if err := run(t.Context(), question, io.Discard, io.Discard); exitCode(err) != 2 {
		t.Errorf("no agent: %v with exit status %d, want 2", err, exitCode(err))
	}
}

func TestStatusRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the status is served to this machine only", http.StatusForbidden)
	}))
	defer server.Close()
	err := run(t.Context(), []string{"status", "--http-addr=" + strings.TrimPrefix(server.URL, "http://")}, io.Discard, io.Discard)
	if exitCode(err) != 2 || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "this machine only") {
		t.Errorf("got %v, want the server's refusal", err)
	}
}
