// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

func flowAt(at time.Time, node, namespace string) *flows.Record {
	return &flows.Record{
		ID: uint64(at.UnixNano()), Time: at, Node: node, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
		Source:      flows.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Namespace: namespace, Pod: "web-1"},
		Destination: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")},
	}
}

func settle(t *testing.T, inv *inventory.Inventory, records []*flows.Record) (*edge.Fold, *inventory.Attribution, error) {
	t.Helper()
	a := inv.Attribute(edge.DefaultLimits)
	for _, r := range records {
		if err := a.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	fold, err := a.Settle()
	return fold, a, err
}

func TestAnotherCluster(t *testing.T) {
	inv := translatedInventory(t) // namespaces shop and kube-system, node node-1
	for _, tt := range []struct {
		name, nodes, namespaces, want string
	}{
		{"this one", "node-1 gone", "shop shop", ""},
		{"behind a relay", "prod/node-1 prod/node-1", "shop shop", ""},
		{"half of the namespaces are gone", "node-1 node-1", "shop gone", ""},
		{"other namespaces", "node-1 node-1", "bank bank", "such as bank;"},
		{"other nodes", "node-8 node-9", "shop shop", "such as node-8, node-9;"},
		{"nodes not given", " ", "shop shop", ""},
	} {
		nodes, namespaces := strings.Split(tt.nodes, " "), strings.Split(tt.namespaces, " ")
		_, _, err := settle(t, inv, []*flows.Record{flowAt(hour, nodes[0], namespaces[0]), flowAt(hour, nodes[1], namespaces[1])})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, _, err := settle(t, inventory.New(nil), []*flows.Record{flowAt(hour, "node-8", "bank")}); err != nil {
		t.Errorf("without an inventory: %v", err)
	}
}

// TestJumpingClock: few flows that a wrong clock dated are part of their edges and do not stretch the evidence,
// whenever they come.
func TestJumpingClock(t *testing.T) {
	var usual []*flows.Record
	for i := range 100 {
		usual = append(usual, flowAt(hour.Add(time.Duration(i)*time.Hour), "", "shop"))
	}
	ahead, behind := flowAt(hour.AddDate(40, 0, 0), "", "shop"), flowAt(hour.AddDate(-5, 0, 0), "", "shop")
	weekLater := make([]*flows.Record, 20)
	for i := range weekLater {
		weekLater[i] = flowAt(hour.AddDate(0, 0, 14).Add(time.Duration(i)*time.Minute), "", "shop")
	}
	late := hour.AddDate(0, 0, 14).Add(19 * time.Minute)
	for _, tt := range []struct {
		name     string
		records  []*flows.Record
		last     time.Time
		misdated uint64
	}{
		{"no jump", usual, hour.Add(99 * time.Hour), 0},
		{"a jump first", append([]*flows.Record{ahead, behind}, usual...), hour.Add(99 * time.Hour), 2},
		{"a jump within", append(append(append([]*flows.Record{}, usual[:50]...), ahead), usual[50:]...), hour.Add(99 * time.Hour), 1},
		{"every second hour first", append(everySecond(usual, 0), everySecond(usual, 1)...), hour.Add(99 * time.Hour), 0},
		{"every thirtieth hour first", append([]*flows.Record{usual[0], usual[30], usual[60], usual[90]}, usual...), hour.Add(99 * time.Hour), 0},
		{"two recordings", append(append([]*flows.Record{}, weekLater...), usual...), late, 0},
	} {
		fold, a, err := settle(t, inventory.New(nil), tt.records)
		if err != nil {
			t.Fatal(err)
		}
		edges := fold.Edges()
		if len(edges) != 1 || !edges[0].First.Equal(hour) || !edges[0].Last.Equal(tt.last) || a.Misdated != tt.misdated {
			t.Errorf("%s: %d edges, from %s to %s, %d misdated; want to %s, %d", tt.name, len(edges), edges[0].First, edges[0].Last, a.Misdated, tt.last, tt.misdated)
		}
	}
}

// TestOnlyByAWrongClock: an edge that only a wrong clock dated is there, at the nearest time; whose an address was
// is not decided by that time.
func TestOnlyByAWrongClock(t *testing.T) {
	var records []*flows.Record
	for i := range 100 {
		records = append(records, flowAt(hour.Add(time.Duration(i)*time.Minute), "", "shop"))
	}
	jumped := flowAt(hour.AddDate(-1, 0, 0), "", "shop")
	jumped.Source.Pod, jumped.DestinationPort = "", 444
	fold, a, err := settle(t, inventory.New(nil), append(records, jumped))
	if err != nil {
		t.Fatal(err)
	}
	e := fold.Edges()[1]
	if a.Misdated != 1 || e.Port != 444 || !e.First.Equal(hour) || !e.Last.Equal(hour) || e.Days.Len() != 1 || e.From.Entity != inventory.EntityPodAddress {
		t.Errorf("%d misdated, %s from %s to %s on %d days", a.Misdated, e.Key, e.First, e.Last, e.Days.Len())
	}
}

func everySecond(records []*flows.Record, from int) (out []*flows.Record) {
	for i := from; i < len(records); i += 2 {
		out = append(out, records[i])
	}
	return out
}
