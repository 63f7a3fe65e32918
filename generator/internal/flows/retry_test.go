// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
)

// shaky is an observer with a flow a minute for an hour, whose streams fail.
type shaky struct {
	observer.UnimplementedObserverServer
	began time.Time
	fails int // streams that fail after 20 flows; below zero: all do, at once

	mu    sync.Mutex
	asked []*observer.GetFlowsRequest
}

func (s *shaky) ServerStatus(context.Context, *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	return &observer.ServerStatusResponse{}, nil
}

func (s *shaky) GetFlows(req *observer.GetFlowsRequest, stream observer.Observer_GetFlowsServer) error {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	fails := s.fails < 0 || len(s.asked) <= s.fails
	s.mu.Unlock()
	sent := 0
	for n := range 60 {
		at := s.began.Add(time.Duration(n) * time.Minute)
		if at.Before(req.GetSince().AsTime()) {
			continue
		}
		if fails && (sent == 20 || s.fails < 0) {
			return status.Error(codes.Unavailable, "it is shaken")
		}
		f := flowstest.Flow(fmt.Sprint("flow ", n))
		f.GetFlow().Time = timestamppb.New(at)
		if err := stream.Send(f); err != nil {
			return err
		}
		sent++
	}
	return nil
}

func serveShaky(t *testing.T, s *shaky, addr string) string {
	t.Helper()
	s.began = time.Now().Add(-time.Hour).Truncate(time.Second)
	l, server := flowstest.Listen(t, addr), grpc.NewServer()
	observer.RegisterObserverServer(server, s)
	go func() {
		if err := server.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// TestObserveGoesOn: a read that fails goes on a minute before where it was, and has all flows in the end.
func TestObserveGoesOn(t *testing.T) {
	s := &shaky{fails: 2}
	addr := serveShaky(t, s, "127.0.0.1:0")
	told := 0
	dialer := flows.Dialer{Backoff: quick, Retrying: func(string, time.Duration, error) { told++ }}
	ids, stats := map[uint64]bool{}, flows.Stats{}
	err := dialer.Observe(t.Context(), addr, flows.Query{Last: 100}, &stats, func(r *flows.Record) error {
		ids[r.ID] = true
		return nil
	})
	if err != nil || len(ids) != 60 || stats.Flows != 64 || told != 2 {
		t.Errorf("%v; %d flows, %d read, told %d times; want 60, 64 (two overlaps of two flows) and 2", err, len(ids), stats.Flows, told)
	}
	var since []time.Duration
	for _, r := range s.asked[1:] {
		since = append(since, r.GetSince().AsTime().Sub(s.began))
	}
	if s.asked[0].GetNumber() != 100 || s.asked[1].GetNumber() != 0 || !slices.Equal(since, []time.Duration{18 * time.Minute, 36 * time.Minute}) {
		t.Errorf("it was asked %v, then since %v", s.asked, since)
	}
}

// TestObserveWithoutANode: an address that keeps failing is an error that names it, after all others were read.
func TestObserveWithoutANode(t *testing.T) {
	const name = "nodes.test"
	dead, good := &shaky{fails: -1}, &shaky{}
	_, port, err := net.SplitHostPort(serveShaky(t, good, "127.0.0.2:0"))
	if err != nil {
		t.Fatal(err)
	}
	serveShaky(t, dead, "127.0.0.1:"+port)
	dns := flowstest.NewDNS(t)
	dns.Set(name, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	dialer := flows.Dialer{Backoff: quick, Resolver: dns.Resolver()}
	var stats flows.Stats
	err = dialer.Observe(t.Context(), name+":"+port, flows.Query{}, &stats, func(*flows.Record) error { return nil })
	if err == nil || stats.Flows != 60 || len(dead.asked) != 1+quick.Steps {
		t.Fatalf("%v; %d flows, asked %d times; want an error, 60 and %d", err, stats.Flows, len(dead.asked), 1+quick.Steps)
	}
	for _, want := range []string{"2 of 3 addresses", "(127.0.0.1:" + port + "): rpc error: code = Unavailable desc = it is shaken", "(127.0.0.3:" + port + ") does not answer"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %q; want one line with %q", err, want)
		}
	}
}
