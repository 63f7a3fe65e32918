// SPDX-License-Identifier: Apache-2.0

package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/monitor"
)

func TestQuestions(t *testing.T) {
	for _, tc := range []struct {
		q    monitor.Question
		want string // the filters, or a part of the error
	}{
		{monitor.Question{}, `[{}]`},
		{monitor.Question{Verdict: "denied"}, `[{"verdict":["DROPPED"]}]`},
		{monitor.Question{Verdict: "audit", Port: 53, Protocol: "UDP"}, `[{"verdict":["AUDIT"],"protocol":["UDP"],"destinationPort":["53"]}]`},
		{monitor.Question{Pod: "shop/api"}, `[{"sourcePod":["shop/api"]} {"destinationPod":["shop/api"]}]`},
		{monitor.Question{Namespace: "shop", Port: 80}, `[{"sourcePod":["shop/"],"destinationPort":["80"]} {"destinationPod":["shop/"],"destinationPort":["80"]}]`},
		{monitor.Question{From: "shop/web", To: "10.0.0.0/8"}, `[{"sourcePod":["shop/web"],"destinationIp":["10.0.0.0/8"]}]`},
		{monitor.Question{From: "fd00::1", To: "shop/"}, `[{"sourceIp":["fd00::1"],"destinationPod":["shop/"]}]`},
		{monitor.Question{Verdict: "dropped"}, `--verdict "dropped" is not one of`},
		{monitor.Question{Protocol: "http"}, `--protocol "http" is not one of`},
		{monitor.Question{Pod: "api"}, `--pod "api": give NAMESPACE/NAME`},
		{monitor.Question{Pod: "shop/"}, `--pod "shop/": give NAMESPACE/NAME`},
		{monitor.Question{Namespace: "shop/api"}, `is not a namespace`},
		{monitor.Question{From: "api"}, `--from "api": give`},
		{monitor.Question{To: "10.0.0.300"}, `--to "10.0.0.300": give`},
		{monitor.Question{Pod: "shop/api", Namespace: "shop"}, `give one of`},
		{monitor.Question{Pod: "shop/api", To: "shop/api"}, `give one of`},
	} {
		request, err := tc.q.Request()
		if err != nil {
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%+v: %v; want %s", tc.q, err, tc.want)
			}
			continue
		}
		var filters []string
		for _, f := range request.GetWhitelist() {
			filters = append(filters, strings.ReplaceAll(protojson.Format(f), "\n", ""))
		}
		if got := strings.ReplaceAll(fmt.Sprint(filters), " ", ""); got != strings.ReplaceAll(tc.want, " ", "") || !request.GetFollow() {
			t.Errorf("%+v: %s; want %s", tc.q, got, tc.want)
		}
	}
}

var noon = timestamppb.New(time.Date(2026, 11, 21, 12, 0, 0, 0, time.Local))

func flow(f *flowpb.Flow) *observerpb.GetFlowsResponse {
	return &observerpb.GetFlowsResponse{Time: noon, ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: f}}
}

func denied() *observerpb.GetFlowsResponse {
	return flow(&flowpb.Flow{
		Verdict: flowpb.Verdict_DROPPED, TrafficDirection: flowpb.TrafficDirection_INGRESS, Aggregate: &flowpb.Aggregate{IngressFlowCount: 3},
		IP:     &flowpb.IP{Source: "fd00::9", Destination: "fd00::2"},
		L4:     &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{DestinationPort: 8080}}},
		Source: &flowpb.Endpoint{Labels: []string{"reserved:world"}}, Destination: &flowpb.Endpoint{Namespace: "shop", PodName: "api-0"},
		IngressDeniedBy: []*flowpb.Policy{{Kind: "NetworkPolicy", Namespace: "shop", Name: "api", Labels: []string{"bulkhead.dev/rule=spec"}}},
	})
}

func allowed() *observerpb.GetFlowsResponse {
	return flow(&flowpb.Flow{
		Verdict: flowpb.Verdict_FORWARDED, TrafficDirection: flowpb.TrafficDirection_EGRESS, Aggregate: &flowpb.Aggregate{EgressFlowCount: 1},
		IP: &flowpb.IP{Source: "10.0.0.1", Destination: "10.0.0.2"}, L4: &flowpb.Layer4{Protocol: &flowpb.Layer4_ICMPv4{ICMPv4: &flowpb.ICMPv4{}}},
		EgressAllowedBy: []*flowpb.Policy{{
			Kind: "ClusterNetworkPolicy", Name: "ping\x1b[2J", Labels: []string{"bulkhead.dev/rule=spec.egress[0]", "bulkhead.dev/approved-commit=c0ffee"},
		}},
	})
}

func called(service *flowpb.Service, names ...string) *observerpb.GetFlowsResponse {
	event := allowed()
	event.GetFlow().EgressAllowedBy, event.GetFlow().DestinationService, event.GetFlow().DestinationNames = nil, service, names
	return event
}

func staged() *observerpb.GetFlowsResponse {
	event := denied()
	event.GetFlow().IngressAllowedBy = []*flowpb.Policy{{
		Kind: "NetworkPolicy", Namespace: "shop", Name: "next", Labels: []string{"bulkhead.dev/rule=spec.ingress[2]", "bulkhead.dev/staged=true"},
	}}
	return event
}

func lost(source flowpb.LostEventSource) *observerpb.GetFlowsResponse {
	event := &flowpb.LostEvent{Source: source, NumEventsLost: 42}
	return &observerpb.GetFlowsResponse{Time: noon, ResponseTypes: &observerpb.GetFlowsResponse_LostEvents{LostEvents: event}}
}

func TestPrint(t *testing.T) {
	for _, tc := range []struct {
		format string
		colour bool
		event  *observerpb.GetFlowsResponse
		want   string
	}{
		{"compact", false, denied(), "12:00:00.000  denied   ingress  fd00::9 → shop/api-0:8080 TCP ×3  NetworkPolicy shop/api\n"},
		{"compact", false, staged(), "TCP ×3  NetworkPolicy shop/api [staged: allowed by NetworkPolicy shop/next spec.ingress[2]]\n"},
		{"compact", true, denied(), "\x1b[31m12:00:00.000  denied   ingress  fd00::9 → shop/api-0:8080 TCP ×3  NetworkPolicy shop/api\x1b[0m\n"},
		{"compact", false, allowed(), "12:00:00.000  allowed  egress   10.0.0.1 → 10.0.0.2 ICMPv4  ClusterNetworkPolicy ping?[2J spec.egress[0], approved by c0ffee\n"},
		{"compact", false, lost(flowpb.LostEventSource_PERF_EVENT_RING_BUFFER), "12:00:00.000  42 records were lost: the kernel had no room for more kinds of flow at once\n"},
		{"compact", false, called(&flowpb.Service{Namespace: "shop", Name: "web"}), "→ 10.0.0.2 ICMPv4  (through Service shop/web)\n"},
		{"compact", false, called(nil, "a.example.com", "b.example.com"), "→ 10.0.0.2 ICMPv4  (known as a.example.com, b.example.com)\n"},
		{"table", false, called(&flowpb.Service{Namespace: "shop", Name: "web"}, "a.example.com"), "1   (through Service shop/web; known as a.example.com)\n"},
		{"table", false, lost(flowpb.LostEventSource_HUBBLE_RING_BUFFER), "42 records were lost: the agent kept newer ones (--flow-buffer)\n"},
		{"table", false, denied(), "TCP/8080         3  NetworkPolicy shop/api\n"},
		{"json", true, denied(), "the line\n"},
	} {
		var out bytes.Buffer
		p, err := monitor.NewPrinter(&out, tc.format, tc.colour)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Print([]byte("the line"), tc.event); err != nil || !strings.HasSuffix(out.String(), tc.want) {
			t.Errorf("%s, colour %v: %v\n%q\nwant\n%q", tc.format, tc.colour, err, out.String(), tc.want)
		}
		if header := strings.HasPrefix(out.String(), "TIME"); header != (tc.format == "table") {
			t.Errorf("%s: header %v in %q", tc.format, header, out.String())
		}
	}
	if _, err := monitor.NewPrinter(nil, "yaml", false); err == nil {
		t.Error("yaml is no format, and yet no error")
	}
}

func TestWatchEnds(t *testing.T) {
	line := protojson.Format(denied())
	answer := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	whole := answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.ReplaceAll(line, "\n", "")) })
	events := 0
	count := func([]byte, *observerpb.GetFlowsResponse) error { events++; return nil }
	if err := monitor.Watch(t.Context(), whole, &observerpb.GetFlowsRequest{}, count); err == nil || !strings.Contains(err.Error(), "has ended") || events != 1 {
		t.Errorf("an agent that ends: %v after %d events", err, events)
	}
	full := errors.New("no space left")
	if err := monitor.Watch(t.Context(), whole, &observerpb.GetFlowsRequest{}, func([]byte, *observerpb.GetFlowsResponse) error { return full }); !errors.Is(err, full) {
		t.Errorf("output that fails: %v", err)
	}
	garbage := answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "<html>") })
	if err := monitor.Watch(t.Context(), garbage, &observerpb.GetFlowsRequest{}, count); err == nil || !strings.Contains(err.Error(), "read the enforcer's answer") {
		t.Errorf("garbage: %v", err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	silent := answer(func(w http.ResponseWriter, req *http.Request) {
		w.(http.Flusher).Flush()
		interrupt()
		<-req.Context().Done()
	})
	if err := monitor.Watch(ctx, silent, &observerpb.GetFlowsRequest{}, count); err != nil {
		t.Errorf("interrupted: %v, want a clean end", err)
	}
}
