// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// ring is an observer that tells since when it was asked.
type ring struct {
	observer.UnimplementedObserverServer
	flows []*observer.GetFlowsResponse
	asked chan time.Time
}

func (r *ring) ServerStatus(context.Context, *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	return &observer.ServerStatusResponse{}, nil
}

func (r *ring) GetFlows(req *observer.GetFlowsRequest, stream observer.Observer_GetFlowsServer) error {
	r.asked <- req.GetSince().AsTime()
	for _, f := range r.flows {
		if err := stream.Send(f); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// TestResume: a service that is started again asks for what came since the last flow that it committed, with
// an overlap, and counts nothing twice. A flow of the future does not make it ask too late.
func TestResume(t *testing.T) {
	seen := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	at := func(f *observer.GetFlowsResponse, when time.Time) *observer.GetFlowsResponse {
		f.GetFlow().Time = timestamppb.New(when)
		return f
	}
	r := &ring{asked: make(chan time.Time, 1), flows: []*observer.GetFlowsResponse{at(flowstest.Flow("a"), seen.Add(-time.Minute)), at(flowstest.Flow("b"), seen)}}
	l := flowstest.Listen(t, "127.0.0.1:0")
	grpcServer := grpc.NewServer()
	observer.RegisterObserverServer(grpcServer, r)
	go func() {
		if err := grpcServer.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(grpcServer.Stop)
	state := filepath.Join(t.TempDir(), "state")

	if since := observeOnce(t, r, l.Addr().String(), state, 2); since.Year() != 1970 {
		t.Errorf("with nothing seen it asks since %v", since)
	}
	r.flows = append(r.flows, at(flowstest.Flow("c"), time.Now().Add(24*time.Hour)))
	if since := observeOnce(t, r, l.Addr().String(), state, 3); !since.Equal(seen.Add(-flows.Overlap)) {
		t.Errorf("started again it asks since %v, want %v", since, seen.Add(-flows.Overlap))
	}
	if since := observeOnce(t, r, l.Addr().String(), state, 3); since.After(time.Now()) {
		t.Errorf("after a flow of the future it asks since %v", since)
	}
}

// observeOnce follows the observer until so many flows are committed, and returns since when it asked.
func observeOnce(t *testing.T, r *ring, address, state string, want uint64) (since time.Time) {
	t.Helper()
	s := &server{cfg: Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, meter: newMeter()}
	var err error
	if s.seen, err = recall(state, inventory.New(nil), s.meter); err != nil {
		t.Fatal(err)
	}
	addresses, err := s.cfg.Dialer.Resolve(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.followAddress(ctx, addresses[0], make(chan<- struct{}, 1))
	}()
	since = <-r.asked
	n := nodes{server: s}
	read := float64(len(r.flows))
	n.until(t, "all flows are read", func() bool { return n.flows(t) == read })
	cancel()
	<-ended
	edges, _ := s.seen.store.Edges()
	if got, _ := edges[0].Flows.Value(); len(edges) != 1 || got != want {
		t.Errorf("%d edges, the first with %d flows; want 1 with %d", len(edges), got, want)
	}
	if err := s.seen.close(); err != nil {
		t.Fatal(err)
	}
	return since
}
