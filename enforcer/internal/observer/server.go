// SPDX-License-Identifier: Apache-2.0

// Package observer keeps the node's newest flows and serves them as Hubble's Observer gRPC API, so that
// the hubble CLI, its relay and the generator read them as they read a Cilium node's.
package observer

import (
	"context"
	"slices"
	"time"

	observerpb "github.com/cilium/cilium/api/v1/observer"
	relaypb "github.com/cilium/cilium/api/v1/relay"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// healthName is what Hubble's CLI and relay call the Observer service when they ask for its health.
const healthName = "hubble.server.Observer"

// Server answers for one node. Agent and debug events are Cilium's own: those calls are unimplemented.
type Server struct {
	observerpb.UnimplementedObserverServer
	ring    *Ring
	node    string
	version string
	started time.Time
}

// NewServer serves what ring holds under the name of the node.
func NewServer(ring *Ring, node, version string) *Server {
	return &Server{ring: ring, node: node, version: version, started: time.Now()}
}

// Register adds the Observer service, and its health service, to g.
func (s *Server) Register(g *grpc.Server) {
	observerpb.RegisterObserverServer(g, s)
	alive := health.NewServer()
	alive.SetServingStatus(healthName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, alive)
}

// ServerStatus counts what is held and was seen.
func (s *Server) ServerStatus(context.Context, *observerpb.ServerStatusRequest) (*observerpb.ServerStatusResponse, error) {
	stats := s.ring.Stats()
	return &observerpb.ServerStatusResponse{
		NumFlows:            uint64(stats.Held),
		MaxFlows:            uint64(stats.Capacity),
		SeenFlows:           stats.Seen,
		UptimeNs:            uint64(time.Since(s.started)),
		NumConnectedNodes:   wrapperspb.UInt32(1),
		NumUnavailableNodes: wrapperspb.UInt32(0),
		Version:             s.version,
		FlowsRate:           float64(s.countSince(time.Now().Add(-time.Minute))) / time.Minute.Seconds(),
	}, nil
}

// GetNodes lists this node only; a relay joins the nodes' answers.
func (s *Server) GetNodes(context.Context, *observerpb.GetNodesRequest) (*observerpb.GetNodesResponse, error) {
	stats := s.ring.Stats()
	return &observerpb.GetNodesResponse{Nodes: []*observerpb.Node{{
		Name:      s.node,
		Version:   s.version,
		State:     relaypb.NodeState_NODE_CONNECTED,
		UptimeNs:  uint64(time.Since(s.started)),
		NumFlows:  uint64(stats.Held),
		MaxFlows:  uint64(stats.Capacity),
		SeenFlows: stats.Seen,
	}}}, nil
}

// GetNamespaces lists the namespaces with flows in the last hour, sorted.
func (s *Server) GetNamespaces(context.Context, *observerpb.GetNamespacesRequest) (*observerpb.GetNamespacesResponse, error) {
	seen := map[string]bool{}
	since := time.Now().Add(-time.Hour)
	s.each(func(e *event) {
		if !e.Time.Before(since) {
			f := e.response().GetFlow()
			seen[f.GetSource().GetNamespace()] = true
			seen[f.GetDestination().GetNamespace()] = true
		}
	})
	delete(seen, "")
	answer := &observerpb.GetNamespacesResponse{}
	for namespace := range seen {
		answer.Namespaces = append(answer.Namespaces, &observerpb.Namespace{Namespace: namespace})
	}
	slices.SortFunc(answer.Namespaces, func(a, b *observerpb.Namespace) int {
		if a.GetNamespace() < b.GetNamespace() {
			return -1
		}
		return 1
	})
	return answer, nil
}

// GetFlows streams flows as Hubble does: the last (or first) number of those selected, all of them for
// zero, then new ones when following. A follower of zero flows starts with the next one.
func (s *Server) GetFlows(req *observerpb.GetFlowsRequest, stream observerpb.Observer_GetFlowsServer) error {
	q, err := newQuery(req)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return q.run(stream.Context(), s.ring, stream.Send)
}

// Answer is GetFlows for callers in this process. An error says why the request cannot be answered; run sends
// until it is answered, sending fails or ctx ends.
func (s *Server) Answer(req *observerpb.GetFlowsRequest) (run func(ctx context.Context, send func(*observerpb.GetFlowsResponse) error) error, err error) {
	q, err := newQuery(req)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, send func(*observerpb.GetFlowsResponse) error) error {
		return q.run(ctx, s.ring, send)
	}, nil
}

// each visits the events held at this moment, oldest first.
func (s *Server) each(visit func(*event)) {
	from, end := s.ring.bounds()
	buf := make([]event, readBatch)
	for from < end {
		n, next, _, _ := s.ring.read(from, buf)
		for i := range buf[:n] {
			visit(&buf[i])
		}
		from = next
	}
}

func (s *Server) countSince(since time.Time) (count int) {
	s.each(func(e *event) {
		if e.lost == nil && !e.Time.Before(since) {
			count++
		}
	})
	return count
}
