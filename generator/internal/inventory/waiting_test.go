// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// TestManyWaiting: where more records wait than are kept one by one, none is lost, and an address is a
// pod's only if it was at all of their times.
func TestManyWaiting(t *testing.T) {
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	a := New(nil).Attribute(edge.Limits{})
	add := func(id uint64, second int, source, pod string) {
		r := &flows.Record{
			ID: id, Time: start.Add(time.Duration(second) * time.Second), Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: 443,
			Source:      flows.Endpoint{Addr: netip.MustParseAddr(source)},
			Destination: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Names: []string{"example.org"}},
		}
		if pod != "" {
			r.Source.Namespace, r.Source.Pod = "shop", pod
		}
		if err := a.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	add(1, 0, "10.0.0.1", "steady")
	add(2, 100, "10.0.0.1", "steady")
	add(3, 0, "10.0.0.2", "brief")
	add(4, 50, "10.0.0.2", "brief")
	for i := range uint64(10) {
		add(100+i, 10+int(i)*8, "10.0.0.1", "")
		add(200+i, 10+int(i)*8, "10.0.0.2", "")
	}
	a.count = maxWaiting
	add(300, 30, "10.0.0.1", "")
	if len(a.waiting) != 1 {
		t.Errorf("%d kinds of records wait one by one, want the last only", len(a.waiting))
	}
	fold, err := a.Settle()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"Pod shop/steady": 13, "Pod shop/brief": 2, "pod-address 10.0.0.2": 10}
	for _, e := range fold.Edges() {
		if n, _ := e.Flows.Value(); n != want[e.From.String()] || len(e.Names) != 1 {
			t.Errorf("%s: %d flows, names %v; want %d flows and one name", e.Key, n, e.Names, want[e.From.String()])
		}
		delete(want, e.From.String())
	}
	if len(want) > 0 {
		t.Errorf("no edge from %v", want)
	}
}
