// SPDX-License-Identifier: Apache-2.0

// Package flowstest has what tests of reading flows need: observers that serve the real gRPC API on
// loopback, a certificate authority, and a DNS server.
package flowstest

import (
	"context"
	"net"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// hubble serves a fixed list of responses, as an observer that has seen no more.
type hubble struct {
	observer.UnimplementedObserverServer
	responses []*observer.GetFlowsResponse
}

func (h *hubble) ServerStatus(context.Context, *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	return &observer.ServerStatusResponse{NumFlows: uint64(len(h.responses))}, nil
}

func (h *hubble) GetFlows(req *observer.GetFlowsRequest, stream observer.Observer_GetFlowsServer) error {
	for _, r := range h.responses {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	if req.GetFollow() {
		<-stream.Context().Done()
	}
	return nil
}

// Serve starts an observer in plain text at a free loopback port, and returns its host:port.
func Serve(t *testing.T, responses ...*observer.GetFlowsResponse) (addr string) {
	t.Helper()
	l := Listen(t, "127.0.0.1:0")
	ServeOn(t, l, nil, responses...)
	return l.Addr().String()
}

// Listen opens a socket.
func Listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ServeOn starts an observer until the test ends or stop is called, which also ends its streams.
func ServeOn(t *testing.T, l net.Listener, options []grpc.ServerOption, responses ...*observer.GetFlowsResponse) (stop func()) {
	t.Helper()
	server := grpc.NewServer(options...)
	observer.RegisterObserverServer(server, &hubble{responses: responses})
	go func() {
		if err := server.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(server.Stop)
	return server.Stop
}

// Flow is a connection from Deployment shop/web to Deployment shop/api on port 3000, seen now.
func Flow(uuid string) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{NodeName: "node-1", ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
		Time: timestamppb.Now(), Uuid: uuid, Verdict: flow.Verdict_AUDIT, Type: flow.FlowType_L3_L4,
		IP:     &flow.IP{Source: "10.0.0.1", Destination: "10.0.0.2"},
		L4:     &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{SourcePort: 40000, DestinationPort: 3000}}},
		Source: end("web"), Destination: end("api"), TrafficDirection: flow.TrafficDirection_EGRESS, IsReply: wrapperspb.Bool(false),
	}}}
}

func end(workload string) *flow.Endpoint {
	return &flow.Endpoint{Namespace: "shop", PodName: workload + "-1", Workloads: []*flow.Workload{{Kind: "Deployment", Name: workload}}}
}

// Lost is an observer's report that it lost n flows.
func Lost(n uint64) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: &flow.LostEvent{NumEventsLost: n}}}
}
