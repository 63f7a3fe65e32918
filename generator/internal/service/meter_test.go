// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
)

// TestMissing: what observers lost, and what says nothing, is shown by its place and kind; with more than may be
// missing, nothing is proposed, though all was well for long.
func TestMissing(t *testing.T) {
	n := nodes{server: &server{meter: newMeter()}}
	var err error
	if n.seen, err = recall("", inventory.New(nil), n.meter); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	n.addMany(now.AddDate(0, 0, -20), 10_000)
	n.addMany(now, 160)
	input := `{"node_name":"node-1","lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"800"}}
{"node_name":"node-2","lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"40"}}
{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"ICMPv4":{"type":8}},"Type":"L3_L4"}
{"node_status":{}}
`
	for n2 := range 2 * maxPlaces {
		input += fmt.Sprintf(`{"node_name":"x-%d","lost_events":{"source":"LOST","num_events_lost":"0"}}`+"\n", n2)
	}
	stats, err := flows.Read(strings.NewReader(input), "test", 0, func(*flows.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	n.seen.missed(&stats)
	for metric, want := range map[string]float64{
		"flows_lost_total": 840, `flows_lost_at_total{node="node-1",queue="PERF_EVENT_RING_BUFFER"}`: 800,
		`flows_ignored_total{kind="icmp"}`: 1, `flows_ignored_total{kind="other"}`: 1, `flows_ignored_total{kind="socket"}`: 0,
	} {
		if got := n.value(t, prefix+metric); got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if places := strings.Count(n.get("/metrics"), prefix+"flows_lost_at_total{"); places > maxPlaces+1 {
		t.Errorf("%d places are shown", places)
	}
	if at := n.seen.store.LostAt(now); len(at) == 0 || at[0].Node != "node-1" || at[0].Lost != 800 {
		t.Errorf("lost at %+v", at)
	}
	_, _, loss := n.seen.all(now)
	_, err = proposal.Make(proposal.Input{Cluster: "prod", Loss: loss, MaxLoss: 0.01})
	if refused := new(proposal.LossError); !errors.As(err, &refused) || !strings.Contains(err.Error(), "84 % of the flows are missing (160 read, 840 lost") {
		t.Errorf("the proposal says %v", err)
	}
}

// TestSettledAreCounted: flows that wait, and what becomes of them, are metrics.
func TestSettledAreCounted(t *testing.T) {
	now := time.Now()
	n := nodes{server: &server{meter: newMeter()}}
	var err error
	if n.seen, err = recall("", inventory.At(now, nil), n.meter); err != nil {
		t.Fatal(err)
	}
	n.addMany(now, 3)
	if err := n.seen.commit(); err != nil {
		t.Fatal(err)
	}
	if waits, settled := n.value(t, prefix+"flows_waiting"), n.value(t, prefix+`flows_settled_total{as="address"}`); waits != 3 || settled != 0 {
		t.Errorf("%v wait, %v are settled; want 3, 0", waits, settled)
	}
	n.seen.use(inventory.At(now.Add(time.Hour), nil))
	if waits, settled := n.value(t, prefix+"flows_waiting"), n.value(t, prefix+`flows_settled_total{as="address"}`); waits != 0 || settled != 3 {
		t.Errorf("%v wait, %v are settled; want 0, 3", waits, settled)
	}
}

// addMany adds flows between two addresses.
// TestBusyNode: a node that lost most of its flows is refused for, however little that is of all.
func TestBusyNode(t *testing.T) {
	n := nodes{server: &server{meter: newMeter()}}
	var err error
	if n.seen, err = recall("", inventory.New(nil), n.meter); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	n.addMany(now, 40_000)
	for range 38 {
		n.seen.add("busy", &flows.Record{Time: now, Node: "busy"}, now)
	}
	stats, err := flows.Read(strings.NewReader(`{"node_name":"busy","lost_events":{"source":"LOST","num_events_lost":"200"}}`), "test", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.seen.missed(&stats)
	_, _, loss := n.seen.all(now)
	_, err = proposal.Make(proposal.Input{Cluster: "prod", Loss: loss, MaxLoss: 0.01})
	if refused := new(proposal.LossError); !errors.As(err, &refused) || !strings.Contains(err.Error(), "node busy lost 84 % of its flows (38 read, 200 lost)") {
		t.Errorf("the proposal says %v", err)
	}
}

func (n *nodes) addMany(at time.Time, count int) {
	for id := range count {
		n.seen.add("node-1", &flows.Record{
			ID: uint64(id), Time: at, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}, Destination: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.2")},
		}, at)
	}
}
