// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	observerpb "github.com/cilium/cilium/api/v1/observer"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/monitor"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Verdicts are shown as they are given, and those alone that were asked for.
func TestMonitor(t *testing.T) {
	const nodeName, ns = "node-monitor", "monitor"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	web := node.NewPod(t, "vmonweb", "10.99.21.2")
	api := node.NewPod(t, "vmonapi", "10.99.21.3")
	createPod(t, nodeName, ns, "web", nil, web)
	createPod(t, nodeName, ns, "api", nil, api)
	echo(t, api, 80)
	apply(t, ns, denyAll(), allow("api", "api", "web", 80))
	stop := start(t, nodeName, nil)

	for _, tc := range []struct {
		q    monitor.Question
		want string
	}{
		{monitor.Question{Pod: ns + "/api", Verdict: "denied"}, "denied   ingress  monitor/web → monitor/api:81 TCP"},
		{monitor.Question{From: ns + "/web", To: "10.99.21.3", Verdict: "allowed", Port: 80, Protocol: "tcp"}, "→ monitor/api:80 TCP"},
		{monitor.Question{Namespace: ns, Verdict: "allowed", Port: 80}, "NetworkPolicy monitor/api spec.ingress[0]"},
	} {
		if got := firstLines(t, &tc.q, tc.want, func() {
			_ = reach(web, api.Addrs[0], 80)
			_ = reach(web, api.Addrs[0], 81) // dropped
		}); strings.Contains(got, map[bool]string{true: "denied", false: "allowed"}[tc.q.Verdict == "allowed"]) {
			t.Errorf("%+v: shows others, too:\n%s", tc.q, got)
		}
	}
	code, _, err := post("/flows", `{"whitelist":[{"http_method":["GET"]}]}`)
	if err != nil || code != http.StatusBadRequest {
		t.Errorf("a filter that is not known: status %d, %v; want 400", code, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- monitor.Watch(t.Context(), httpAddr, &observerpb.GetFlowsRequest{Follow: true}, func([]byte, *observerpb.GetFlowsResponse) error { return nil })
	}()
	stop()
	if err := <-ended; err == nil {
		t.Error("the agent has ended, and who watches is not told")
	}
}

func post(path, body string) (code int, text string, err error) {
	resp, err := http.Post("http://"+httpAddr+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	return resp.StatusCode, "", nil
}

// firstLines does something again and again until the monitor shows a line with want.
func firstLines(t *testing.T, q *monitor.Question, want string, do func()) string {
	t.Helper()
	request, err := q.Request()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printer, err := monitor.NewPrinter(&out, "compact", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			do()
		}
	}()
	found := errors.New("found")
	err = monitor.Watch(ctx, httpAddr, request, func(line []byte, event *observerpb.GetFlowsResponse) error {
		if err := printer.Print(line, event); err != nil {
			return err
		}
		if strings.Contains(out.String(), want) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Errorf("%+v: %v, without %q:\n%s", q, err, want, out.String())
	}
	return out.String()
}
