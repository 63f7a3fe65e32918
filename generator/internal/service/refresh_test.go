// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// TestRefresh: a flow from an address of a pod that started after the service is the pod's, once the API server, which does
// not answer for a while, has told of it.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := metav1.NewTime(time.Now().Add(time.Second))
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late"},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &start, PodIP: "10.0.0.1"},
		}
		var down atomic.Bool
		down.Store(true)
		client := fake.NewClientset(pod)
		client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			return down.Load(), nil, errors.New("it is down")
		})
		s := &server{cfg: Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, client: client, meter: newMeter()}
		var err error
		if s.seen, err = recall("", inventory.At(time.Now(), nil), s.meter); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.refresh(ctx)
		}()
		time.Sleep(10 * time.Second)
		s.seen.add("node-1", &flows.Record{
			Time: time.Now(), Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: netip.MustParseAddr("10.0.0.1")}, Destination: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")},
		}, time.Now())
		n := nodes{server: s}
		time.Sleep(10 * time.Minute)
		if edges, _, _ := s.seen.all(time.Now()); len(edges) > 0 || n.value(t, prefix+`rounds_total{result="failed",round="inventory"}`) < 10 {
			t.Errorf("without an inventory there are the edges %v", edges)
		}
		down.Store(false)
		time.Sleep(2 * refreshEvery)
		if edges, _, _ := s.seen.all(time.Now()); len(edges) != 1 || edges[0].From.String() != "Pod shop/late" {
			t.Errorf("the edges are %v", edges)
		}
		cancel()
		<-ended
	})
}
