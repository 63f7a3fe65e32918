// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
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
		"--netns-path \"\"":                      with("--netns-path="),
		"--http-addr here is not host:port":      with("--http-addr=here"),
		"--flow-interval 1ms":                    with("--flow-interval=1ms"),
		"--flow-buffer 0":                        with("--flow-buffer=0"),
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
		"--output \"yaml\"":                      {"status", "-o", "yaml"},
		"--http-addr nowhere is not host:port":   {"status", "--http-addr=nowhere"},
		"is one running on this node":            {"status", "--http-addr=127.0.0.1:1"},
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
	for _, command := range []string{"", "run", "status", "monitor"} {
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
"endpoints":[{"namespace":"shop","pod":"api-1","ifindex":12,"mode":"enforce","set":1,"attached":true}],"flows":{"seen":9,"lost":1,"overwritten":0}}`

func TestStatus(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	var table, text bytes.Buffer
	if err := run(t.Context(), []string{"status", "--http-addr=" + addr}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"n1 (NOT READY)", "find the interface of pod a/b", "9 seen, 1 lost", "shop       api-1  enforce  1    12         true"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if err := run(t.Context(), []string{"status", "-o", "json", "--http-addr=" + addr}, &text, io.Discard); err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(answer), &want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStatusRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the status is served to this machine only", http.StatusForbidden)
	}))
	defer server.Close()
	err := run(t.Context(), []string{"status", "--http-addr=" + strings.TrimPrefix(server.URL, "http://")}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "this machine only") {
		t.Errorf("got %v, want the server's refusal", err)
	}
}
