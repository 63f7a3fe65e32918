// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"context"
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

// Whatever is asked, the server answers with as many events as there are, or refuses.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"number":"1","follow":true,"since":"2026-11-21T12:00:00Z"}`, `{"first":true,"number":"2","until":"2026-11-21T12:00:00Z"}`,
		`{"whitelist":[{"source_pod":["shop/","/"],"verdict":["DROPPED"]}],"blacklist":[{"destination_ip":["10.0.0.0/8"]}]}`,
		`{"whitelist":[{"source_label":["k8s:app in (a,b)"],"event_type":[{"type":1,"match_sub_type":true,"sub_type":133}]}]}`,
		`{"field_mask":"time,source.podName,l4.TCP"}`,
	} {
		f.Add(seed)
	}
	ring := observer.NewRing(4)
	for range 6 {
		ring.Append(kept(&flowpb.Flow{Verdict: flowpb.Verdict_DROPPED, Source: &flowpb.Endpoint{Namespace: "shop", PodName: "a", Labels: []string{"k8s:app=a"}}}))
	}
	ring.AppendLost("n", 1, time.Now())
	server := observer.NewServer(ring, "n", "v")
	f.Fuzz(func(t *testing.T, text string) {
		request := &observerpb.GetFlowsRequest{}
		if protojson.Unmarshal([]byte(text), request) != nil {
			return
		}
		run, err := server.Answer(request)
		if err != nil {
			return
		}
		ended, end := context.WithCancel(context.Background())
		end()
		events := 0
		_ = run(ended, func(*observerpb.GetFlowsResponse) error { events++; return nil })
		if events > 5 { // those of the ring, and how many were overwritten
			t.Errorf("%d events", events)
		}
	})
}
