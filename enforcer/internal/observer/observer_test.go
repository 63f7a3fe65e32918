// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// numbered returns flows n to m-1, a second apart; flow i has the uuid "i".
func numbered(n, m int) []observer.Flow {
	var flows []*flowpb.Flow
	for i := n; i < m; i++ {
		flows = append(flows, &flowpb.Flow{Uuid: fmt.Sprint(i), Time: timestamppb.New(start.Add(time.Duration(i) * time.Second))})
	}
	return kept(flows...)
}

// kept are flows as a ring takes them.
func kept(messages ...*flowpb.Flow) (flows []observer.Flow) {
	for _, m := range messages {
		flows = append(flows, observer.Flow{Time: m.GetTime().AsTime(), Message: func() *flowpb.Flow { return m }})
	}
	return flows
}

func serve(t *testing.T, ring *observer.Ring) observerpb.ObserverClient {
	t.Helper()
	return observerpb.NewObserverClient(connect(t, ring))
}

func connect(t *testing.T, ring *observer.Ring) *grpc.ClientConn {
	t.Helper()
	l, g, err := observer.Transport{Addr: "127.0.0.1:0"}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	observer.NewServer(ring, "node-1", "test").Register(g)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Hubble's CLI asks for the health of this name before `hubble status`.
func TestHealth(t *testing.T) {
	health := healthpb.NewHealthClient(connect(t, observer.NewRing(1)))
	got, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "hubble.server.Observer"})
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", got, err)
	}
}

func collect(t *testing.T, client observerpb.ObserverClient, req *observerpb.GetFlowsRequest) (uuids []string, lost uint64, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := client.GetFlows(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return uuids, lost, nil
		}
		if err != nil {
			return uuids, lost, err
		}
		lost += event.GetLostEvents().GetNumEventsLost()
		if event.GetFlow() != nil {
			uuids = append(uuids, event.GetFlow().GetUuid())
		}
	}
}

func TestGetFlowsRange(t *testing.T) {
	ring := observer.NewRing(1000)
	ring.Append(numbered(0, 700))
	client := serve(t, ring)
	at := func(i int) *timestamppb.Timestamp {
		return timestamppb.New(start.Add(time.Duration(i) * time.Second))
	}
	for name, c := range map[string]struct {
		req         *observerpb.GetFlowsRequest
		first, last int
	}{
		"everything":       {&observerpb.GetFlowsRequest{}, 0, 699},
		"last":             {&observerpb.GetFlowsRequest{Number: 3}, 697, 699},
		"first":            {&observerpb.GetFlowsRequest{Number: 3, First: true}, 0, 2},
		"more than held":   {&observerpb.GetFlowsRequest{Number: 5000}, 0, 699},
		"since":            {&observerpb.GetFlowsRequest{Since: at(650)}, 650, 699},
		"until":            {&observerpb.GetFlowsRequest{Until: at(9)}, 0, 9},
		"since and until":  {&observerpb.GetFlowsRequest{Since: at(300), Until: at(310)}, 300, 310},
		"last of a window": {&observerpb.GetFlowsRequest{Number: 2, Since: at(300), Until: at(310)}, 309, 310},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for i := c.first; i <= c.last; i++ {
				want = append(want, fmt.Sprint(i))
			}
			got, lost, err := collect(t, client, c.req)
			if err != nil || lost != 0 || !slices.Equal(got, want) {
				t.Errorf("got %d flows %v (lost %d, error %v), want %d to %d", len(got), got, lost, err, c.first, c.last)
			}
		})
	}
}

func TestOverwrittenFlowsAreCounted(t *testing.T) {
	ring := observer.NewRing(100)
	ring.Append(numbered(0, 250))
	client := serve(t, ring)
	got, lost, err := collect(t, client, &observerpb.GetFlowsRequest{First: true})
	if err != nil || len(got) != 100 || got[0] != "150" || lost != 150 {
		t.Errorf("first: %d flows, lost %d, %v; want 100 from 150 on, lost 150", len(got), lost, err)
	}
	// Nothing in the window was overwritten, so nothing of it is missing.
	since := timestamppb.New(start.Add(200 * time.Second))
	if got, lost, err = collect(t, client, &observerpb.GetFlowsRequest{Since: since}); err != nil || len(got) != 50 || lost != 0 {
		t.Errorf("since: %d flows, lost %d, %v; want 50, lost none", len(got), lost, err)
	}
	if s := ring.Stats(); s.Overwritten != 150 || s.Seen != 250 || s.Held != 100 {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestFollow(t *testing.T) {
	ring := observer.NewRing(1000)
	ring.Append(numbered(0, 10))
	client := serve(t, ring)
	stream, err := client.GetFlows(t.Context(), &observerpb.GetFlowsRequest{Follow: true, Number: 2})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		event, err := stream.Recv()
		if err != nil || event.GetFlow().GetUuid() != want {
			t.Fatalf("got %v, %v; want flow %s", event, err, want)
		}
	}
	expect("8")
	expect("9")
	ring.Append(numbered(10, 600))
	for i := 10; i < 600; i++ {
		expect(fmt.Sprint(i))
	}
	ring.AppendLost("node-1", 7, start)
	if event, err := stream.Recv(); err != nil || event.GetLostEvents().GetNumEventsLost() != 7 || event.GetNodeName() != "node-1" {
		t.Errorf("got %v, %v; want 7 lost events", event, err)
	}
}

// A reader that stands still while the ring turns gets the number that it missed, and goes on.
func TestSlowFollowerIsToldWhatItMissed(t *testing.T) {
	ring := observer.NewRing(50)
	client := serve(t, ring)
	stream, err := client.GetFlows(t.Context(), &observerpb.GetFlowsRequest{Follow: true, Since: timestamppb.New(start)})
	if err != nil {
		t.Fatal(err)
	}
	padding := strings.Repeat("x", 4096) // fills the connection's window, so that the server has to wait
	const total = 20000
	for i := range total {
		ring.Append(kept(&flowpb.Flow{Uuid: fmt.Sprint(i), Time: timestamppb.New(start), NodeName: padding}))
	}
	var got, lost uint64
	for got+lost < total {
		event, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetFlow() != nil {
			got++
		}
		lost += event.GetLostEvents().GetNumEventsLost()
	}
	if lost == 0 || got+lost != total {
		t.Errorf("received %d, lost %d: want %d together, and some lost", got, lost, total)
	}
}

func endpoint(namespace, pod string, labels ...string) *flowpb.Endpoint {
	return &flowpb.Endpoint{Namespace: namespace, PodName: pod, Labels: labels}
}

func TestFilters(t *testing.T) {
	front := endpoint("shop", "frontend-1", "k8s:app=frontend")
	api := endpoint("shop", "api-1", "k8s:app=api", "k8s:app.kubernetes.io/part-of=shop")
	api.Workloads = []*flowpb.Workload{{Name: "api", Kind: "Deployment"}}
	ring := observer.NewRing(10)
	ring.Append(kept([]*flowpb.Flow{
		{
			Uuid: "http", Verdict: flowpb.Verdict_FORWARDED, Source: front, Destination: api, NodeName: "worker-1",
			IP:        &flowpb.IP{Source: "10.0.0.1", Destination: "10.0.1.2", IpVersion: flowpb.IPVersion_IPv4},
			L4:        &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{SourcePort: 40000, DestinationPort: 3000}}},
			EventType: &flowpb.CiliumEventType{Type: 5}, IsReply: wrapperspb.Bool(false), TrafficDirection: flowpb.TrafficDirection_EGRESS,
			DestinationService: &flowpb.Service{Namespace: "shop", Name: "api-service"},
		},
		{
			Uuid: "dns", Verdict: flowpb.Verdict_DROPPED, DropReasonDesc: flowpb.DropReason_POLICY_DENIED, Source: api,
			Destination: &flowpb.Endpoint{Identity: 2, Labels: []string{"reserved:world"}}, TrafficDirection: flowpb.TrafficDirection_INGRESS,
			IP:          &flowpb.IP{Source: "fd00::1", Destination: "fd00::53", IpVersion: flowpb.IPVersion_IPv6},
			L4:          &flowpb.Layer4{Protocol: &flowpb.Layer4_UDP{UDP: &flowpb.UDP{SourcePort: 50000, DestinationPort: 53}}},
			SourceNames: []string{"here.example.com"}, DestinationNames: []string{"ns.example.net", "dns.example.com"},
		},
	}...))
	client := serve(t, ring)
	for want, filters := range map[string][]*flowpb.FlowFilter{
		"http": {
			{SourcePod: []string{"shop/front"}},
			{SourcePod: []string{"other/", "/frontend"}},
			{DestinationPod: []string{"shop/"}},
			{DestinationPod: []string{"/"}},
			{DestinationService: []string{"shop/api"}},
			{DestinationService: []string{"/"}, SourcePod: []string{"/"}},
			{SourceIp: []string{"10.0.0.1"}},
			{DestinationIp: []string{"10.0.1.0/24"}},
			{SourceLabel: []string{"app=frontend"}},
			{DestinationLabel: []string{"k8s:app in (api,web)"}},
			{DestinationLabel: []string{"app.kubernetes.io/part-of"}},
			{DestinationWorkload: []*flowpb.Workload{{Name: "api"}}},
			{Protocol: []string{"TCP"}},
			{SourcePort: []string{"40000"}},
			{DestinationPort: []string{"3000", "9"}},
			{Verdict: []flowpb.Verdict{flowpb.Verdict_FORWARDED}},
			{TrafficDirection: []flowpb.TrafficDirection{flowpb.TrafficDirection_EGRESS}},
			{Reply: []bool{false}},
			{NodeName: []string{"worker-*"}},
			{Uuid: []string{"http"}},
			{EventType: []*flowpb.EventTypeFilter{{Type: 5}}},
		},
		"dns": {
			{DropReasonDesc: []flowpb.DropReason{flowpb.DropReason_POLICY_DENIED}},
			{IpVersion: []flowpb.IPVersion{flowpb.IPVersion_IPv6}},
			{SourceWorkload: []*flowpb.Workload{{Kind: "Deployment"}}, Protocol: []string{"udp"}},
			{DestinationFqdn: []string{"*.example.com"}},
			{DestinationFqdn: []string{"NS.example.net."}},
			{SourceFqdn: []string{"here.*"}},
			{DestinationIdentity: []uint32{2}, SourceIp: []string{"fd00::/8"}},
			{EventType: []*flowpb.EventTypeFilter{{Type: 1}}},
			{EventType: []*flowpb.EventTypeFilter{{Type: 1, MatchSubType: true, SubType: int32(flowpb.DropReason_POLICY_DENIED)}}},
		},
		"": {
			{SourcePod: []string{"frontend-1"}}, // without a namespace: in "default"
			{SourceIdentity: []uint32{2}},
			{DestinationService: []string{"web"}},
			{SourceService: []string{"/"}},
			{SourceFqdn: []string{"dns.example.com"}},
			{EventType: []*flowpb.EventTypeFilter{{Type: 1, MatchSubType: true, SubType: int32(flowpb.DropReason_POLICY_DENY)}}},
			{SourcePod: []string{"shop/"}, Protocol: []string{"icmp"}},
		},
	} {
		for _, f := range filters {
			got, _, err := collect(t, client, &observerpb.GetFlowsRequest{Whitelist: []*flowpb.FlowFilter{f}})
			if err != nil || strings.Join(got, ",") != want {
				t.Errorf("filter %v: got %v, %v; want %q", f, got, err, want)
			}
		}
	}
	both := []*flowpb.FlowFilter{{Protocol: []string{"tcp"}}, {Protocol: []string{"udp"}}}
	if got, _, _ := collect(t, client, &observerpb.GetFlowsRequest{Whitelist: both, Blacklist: both[:1]}); !slices.Equal(got, []string{"dns"}) {
		t.Errorf("whitelist minus blacklist: got %v, want dns", got)
	}
	namespaces, err := client.GetNamespaces(t.Context(), &observerpb.GetNamespacesRequest{})
	if err != nil || len(namespaces.GetNamespaces()) != 0 {
		t.Errorf("flows without a time are not of the last hour: got %v, %v", namespaces, err)
	}
}

func TestWhatCannotBeAnsweredIsAnError(t *testing.T) {
	client := serve(t, observer.NewRing(10))
	filter := func(f *flowpb.FlowFilter) *observerpb.GetFlowsRequest {
		return &observerpb.GetFlowsRequest{Whitelist: []*flowpb.FlowFilter{f}}
	}
	for want, req := range map[string]*observerpb.GetFlowsRequest{
		"http_method is not supported": filter(&flowpb.FlowFilter{HttpMethod: []string{"GET"}}),
		"neither an address":           filter(&flowpb.FlowFilter{SourceIp: []string{"10.0.0.300"}}),
		"not a port":                   filter(&flowpb.FlowFilter{DestinationPort: []string{"70000"}}),
		"not one of tcp":               filter(&flowpb.FlowFilter{Protocol: []string{"http"}}),
		"label selector":               filter(&flowpb.FlowFilter{SourceLabel: []string{"a in ("}}),
		"an empty name":                filter(&flowpb.FlowFilter{SourcePod: []string{""}}),
		"cannot be combined":           {First: true, Follow: true},
		`Endpoint has no field "ip"`:   {FieldMask: &fieldmaskpb.FieldMask{Paths: []string{"time", "source.ip"}}},
		"labels has no fields":         {FieldMask: &fieldmaskpb.FieldMask{Paths: []string{"source.labels.x"}}},
	} {
		_, _, err := collect(t, client, req)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v; want InvalidArgument with %q", req, err, want)
		}
	}
	stream, err := client.GetAgentEvents(t.Context(), &observerpb.GetAgentEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("GetAgentEvents: %v, want Unimplemented", err)
	}
}

func TestStatusNodesAndNamespaces(t *testing.T) {
	ring := observer.NewRing(10)
	now := timestamppb.Now()
	ring.Append(kept([]*flowpb.Flow{
		{Time: now, Source: endpoint("shop", "a"), Destination: endpoint("data", "b")},
		{Time: now, Source: endpoint("shop", "a"), Destination: &flowpb.Endpoint{}},
	}...))
	client := serve(t, ring)
	s, err := client.ServerStatus(t.Context(), &observerpb.ServerStatusRequest{})
	if err != nil || s.GetNumFlows() != 2 || s.GetMaxFlows() != 10 || s.GetSeenFlows() != 2 || s.GetFlowsRate() <= 0 {
		t.Errorf("ServerStatus: %v, %v", s, err)
	}
	nodes, err := client.GetNodes(t.Context(), &observerpb.GetNodesRequest{})
	if err != nil || len(nodes.GetNodes()) != 1 || nodes.GetNodes()[0].GetName() != "node-1" {
		t.Errorf("GetNodes: %v, %v", nodes, err)
	}
	namespaces, err := client.GetNamespaces(t.Context(), &observerpb.GetNamespacesRequest{})
	var names []string
	for _, n := range namespaces.GetNamespaces() {
		names = append(names, n.GetNamespace())
	}
	if err != nil || !slices.Equal(names, []string{"data", "shop"}) {
		t.Errorf("GetNamespaces: %v, %v", names, err)
	}
}

// The hubble CLI asks for the fields that it prints only.
func TestFieldMask(t *testing.T) {
	source := endpoint("shop", "frontend-1", "k8s:app=frontend")
	ring := observer.NewRing(10)
	ring.Append(kept(&flowpb.Flow{
		Uuid: "1", Time: timestamppb.New(start), Source: source, Destination: endpoint("shop", "api-1"), Verdict: flowpb.Verdict_FORWARDED,
		L4: &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{DestinationPort: 80}}},
	}))
	stream, err := serve(t, ring).GetFlows(t.Context(), &observerpb.GetFlowsRequest{FieldMask: &fieldmaskpb.FieldMask{
		Paths: []string{"time", "source.namespace", "source.pod_name", "destination", "destination.pod_name", "l4", "ethernet"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	event, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	want := &flowpb.Flow{
		Time: timestamppb.New(start), Source: endpoint("shop", "frontend-1"), Destination: endpoint("shop", "api-1"),
		L4: &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{DestinationPort: 80}}},
	}
	if got := event.GetFlow(); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(source.GetLabels()) != 1 {
		t.Error("the mask took fields from the flow that is held")
	}
}
