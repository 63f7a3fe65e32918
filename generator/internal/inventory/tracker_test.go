// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// stay is a pod and what is told of it.
type stay struct {
	name       string
	addr       netip.Addr
	start, end time.Duration
	lag        time.Duration // of what its node tells the API server
	kept       time.Duration // for which its object stays after it ended
}

// town is half an hour of pods that take over each other's addresses after a second, with the records of them as
// they come to a server, late and in any order.
type town struct {
	stays   []stay
	records []arrival
	truth   map[netip.Addr]string // destination, of which each record has its own → the source's pod
}

type arrival struct {
	at     time.Duration
	record *flows.Record
}

const halfAnHour = 30 * time.Minute

func newTown(random *rand.Rand) *town {
	w := &town{truth: map[netip.Addr]string{}}
	longest := []time.Duration{25 * time.Second, 5 * time.Minute}[random.IntN(2)]
	for i := range 42 {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		wrong := time.Duration(random.IntN(1000)-500) * time.Millisecond
		for at := time.Duration(0); at < halfAnHour; {
			s := stay{name: fmt.Sprintf("job-%d", len(w.stays)), addr: addr, start: at, lag: time.Duration(random.Int64N(int64(10 * time.Second)))}
			s.end = at + time.Second + time.Duration(random.Int64N(int64(longest)))
			if random.IntN(3) == 0 {
				s.kept = time.Duration(random.Int64N(int64(5 * time.Minute)))
			}
			w.stays = append(w.stays, s)
			w.speak(random, s, wrong)
			at = s.end + time.Second
		}
	}
	slices.SortFunc(w.records, func(a, b arrival) int { return int(a.at - b.at) })
	return w
}

func (w *town) speak(random *rand.Rand, s stay, wrong time.Duration) {
	named := random.IntN(4)
	for range 2 + random.IntN(8) {
		at := s.start + time.Duration(random.Int64N(int64(s.end-s.start))) + wrong
		r := &flows.Record{
			ID: random.Uint64(), Time: hour.Add(at), Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: s.addr}, Destination: flows.Endpoint{Addr: external(len(w.records)), Entity: "world"},
		}
		if random.IntN(4) < named {
			r.Source.Namespace, r.Source.Pod = "batch", s.name
		}
		w.truth[r.Destination.Addr] = s.name
		late := time.Duration(random.Int64N(int64(time.Second)))
		if random.IntN(10) == 0 {
			late = time.Duration(random.Int64N(int64(10 * time.Minute))) // its observer was out of reach
		}
		w.records = append(w.records, arrival{max(at, 0) + late, r})
	}
}

// inventory is what the API server has at a time.
func (w *town) inventory(at time.Duration) *inventory.Inventory {
	objects := []runtime.Object{&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}},
	}}
	for i, s := range w.stays {
		told := at - s.lag
		if told < s.start || told > s.end+s.kept {
			continue
		}
		p := object(s.name, s.addr, s.start, s.end-s.start, told < s.end)
		p.UID = types.UID(fmt.Sprint(i))
		if !p.Status.StartTime.Before(&metav1.Time{Time: hour.Add(at)}) {
			continue
		}
		objects = append(objects, p)
	}
	return inventory.At(hour.Add(at), objects)
}

// track drives a Tracker with the records and with inventories at random times.
func (w *town) track(random *rand.Rand, again bool) []edge.Edge {
	tracker := inventory.NewTracker(w.inventory(0), nil)
	out := edge.NewFold(1 << 20)
	settle := func() {
		if f := tracker.Settle(); f != nil {
			_ = out.Merge(f)
		}
	}
	arrivals := slices.Clone(w.records)
	if again { // a stream fails and is read again from a minute before
		for i := 0; i < len(w.records); i += 500 {
			late := w.records[i].at + time.Minute
			for _, a := range w.records[i:min(i+100, len(w.records))] {
				arrivals = append(arrivals, arrival{max(late, a.at), a.record})
			}
		}
		slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	}
	next := time.Duration(0)
	for _, a := range arrivals {
		for ; next <= a.at; next += 5*time.Second + time.Duration(random.Int64N(int64(85*time.Second))) {
			tracker.Use(w.inventory(next))
			settle()
			if random.IntN(5) == 0 { // one that took longer to read
				tracker.Use(w.inventory(next - time.Minute))
				settle()
			}
		}
		now := hour.Add(max(a.at, a.record.Time.Sub(hour)))
		if k, settled := tracker.Add("node", a.record, now); settled {
			_ = out.Add(k, inventory.Observe(a.record))
		}
		if random.IntN(100) == 0 {
			settle()
		}
	}
	tracker.Use(w.inventory(next + time.Hour))
	settle()
	return out.Edges()
}

// TestTracker: no record is given to a pod that did not send it, and no pod's address is taken for an external one, whenever
// inventories are taken and however late they know.
func TestTracker(t *testing.T) {
	var right, unclear int
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 11))
		w := newTown(random)
		edges := w.track(random, seed%2 == 0)
		if len(edges) < len(w.records) {
			t.Errorf("seed %d: %d edges of %d records", seed, len(edges), len(w.records))
		}
		seen := map[netip.Addr]bool{}
		for _, e := range edges {
			seen[e.To.Addr] = true
			switch {
			case e.From.Kind == "Pod" && e.From.Name == w.truth[e.To.Addr]:
				right++
			case e.From.Entity == inventory.EntityPodAddress:
				unclear++
			default:
				t.Errorf("seed %d: a record of %s is given to %s", seed, w.truth[e.To.Addr], e.From)
			}
		}
		if len(seen) != len(w.records) {
			t.Errorf("seed %d: %d of %d records are in the edges", seed, len(seen), len(w.records))
		}
	}
	t.Logf("%d right, %d unclear", right, unclear)
	if unclear == 0 || right < unclear {
		t.Errorf("%d right, %d unclear", right, unclear)
	}
}

// TestTrackerWaits: what only has an address waits for an inventory that is new enough, and is then named by it.
func TestTrackerWaits(t *testing.T) {
	pod := object("late", netip.MustParseAddr("10.0.0.7"), 5*time.Second, 0, true)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-9"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: "10.9.9.9"}}}}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "late"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: []corev1.ServicePort{{Port: 443}}},
	}
	for _, tt := range []struct {
		to        string
		at        time.Duration // of the record, from when it came
		inventory time.Duration // from then on, too
		want      string        // empty: it waits
	}{
		{"10.0.0.7", 0, 30 * time.Second, ""},
		{"10.0.0.7", 0, time.Minute, "Pod batch/late"},
		{"10.0.0.7", -30 * time.Second, time.Minute, "pod-address 10.0.0.7"}, // before the pod was there
		{"10.0.0.7", time.Hour, time.Minute, "pod-address 10.0.0.7"},         // by a wrong clock
		{"10.0.0.7", -9999 * time.Hour, time.Minute, "pod-address 10.0.0.7"},
		{"10.9.9.9", 0, time.Minute, "remote-node 10.9.9.9"},
		{"10.96.0.7", 0, time.Minute, "service 10.96.0.7"},
		{"192.0.2.1", 0, 30 * time.Second, ""},
		{"192.0.2.1", 0, time.Minute, "192.0.2.1"},
		{"192.0.2.1", time.Hour, time.Minute, "192.0.2.1"},
	} {
		now := hour.Add(20 * time.Second)
		r := &flows.Record{
			Time: now.Add(tt.at), Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: 443, Node: "node-1",
			Source:      flows.Endpoint{Addr: netip.MustParseAddr("10.0.0.8"), Namespace: "batch", Pod: "a"},
			Destination: flows.Endpoint{Addr: netip.MustParseAddr(tt.to)},
		}
		tracker := inventory.NewTracker(inventory.At(hour, nil), nil)
		if k, settled := tracker.Add("node-1", r, now); settled {
			t.Errorf("%s: it did not wait, %s", tt.to, k)
		}
		tracker.Use(inventory.At(now.Add(tt.inventory), []runtime.Object{pod, node, service}))
		tracker.Use(inventory.At(hour, nil)) // one that took longer to read says nothing
		got := ""
		if f := tracker.Settle(); f != nil {
			got = f.Edges()[0].To.String()
		}
		if oldest, waits := tracker.Oldest()["node-1"]; got != tt.want || waits != (got == "") || oldest.After(r.Time) || (tracker.Figures().Waiting == 1) != waits {
			t.Errorf("%s at %s: %q, waits: %v since %s; want %q", tt.to, tt.at, got, waits, oldest, tt.want)
		}
	}
}

// TestTrackerFollowsPods: a pod can change its address, and one of the same name can come after it.
func TestTrackerFollowsPods(t *testing.T) {
	pod := func(uid, addr string, start time.Duration) []runtime.Object {
		p := object("web-0", netip.MustParseAddr(addr), start, 0, true)
		p.UID = types.UID(uid)
		return []runtime.Object{p}
	}
	for name, tt := range map[string]struct {
		before, after []runtime.Object // in the inventories after 5 and 10 minutes; that after 15 has what is in the second
		want          map[time.Duration]string
	}{
		"the same": {pod("a", "10.0.0.1", 0), pod("a", "10.0.0.1", 0), map[time.Duration]string{
			time.Minute: "Pod batch/web-0", 6 * time.Minute: "Pod batch/web-0", 13 * time.Minute: "Pod batch/web-0",
		}},
		"it moves here": {pod("a", "10.0.0.9", 0), pod("a", "10.0.0.1", 0), map[time.Duration]string{
			time.Minute: "pod-address 10.0.0.1", 6 * time.Minute: "pod-address 10.0.0.1", 9*time.Minute + 45*time.Second: "pod-address 10.0.0.1",
			10*time.Minute + 5*time.Second: "Pod batch/web-0",
		}},
		"it moves away": {pod("a", "10.0.0.1", 0), pod("a", "10.0.0.9", 0), map[time.Duration]string{
			time.Minute: "Pod batch/web-0", 6 * time.Minute: "pod-address 10.0.0.1", 13 * time.Minute: "pod-address 10.0.0.1",
		}},
		"another of its name": {pod("a", "10.0.0.1", 0), pod("b", "10.0.0.1", 7*time.Minute), map[time.Duration]string{
			time.Minute: "Pod batch/web-0", 6 * time.Minute: "pod-address 10.0.0.1", 8 * time.Minute: "Pod batch/web-0",
		}},
	} {
		tracker := inventory.NewTracker(inventory.At(hour, nil), nil)
		for at := range tt.want {
			r := &flows.Record{
				Time: hour.Add(at), Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: uint16(at / time.Second),
				Source: flows.Endpoint{Addr: steadyAddr}, Destination: flows.Endpoint{Addr: external(1)},
			}
			tracker.Add("node-1", r, hour.Add(14*time.Minute))
		}
		tracker.Use(inventory.At(hour.Add(5*time.Minute), tt.before))
		tracker.Use(inventory.At(hour.Add(10*time.Minute), tt.after))
		tracker.Use(inventory.At(hour.Add(15*time.Minute), tt.after))
		for _, e := range tracker.Settle().Edges() {
			if at := time.Duration(e.Port) * time.Second; e.From.String() != tt.want[at] {
				t.Errorf("%s: after %s %s, want %s", name, at, e.From, tt.want[at])
			}
		}
	}
}

// TestTrackerIsBounded: while no inventory comes, memory is bounded, no record is lost, and what was one pod's address all the
// time still is.
func TestTrackerIsBounded(t *testing.T) {
	steady := object("steady", steadyAddr, -time.Hour, 0, true)
	tracker := inventory.NewTracker(inventory.At(hour, []runtime.Object{steady}), nil)
	const records = 150_000
	for i := range records {
		at := hour.Add(time.Duration(i) * 100 * time.Millisecond)
		r := &flows.Record{
			ID: uint64(i) * 0x9e3779b97f4a7c15, Time: at, Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: uint16(i % 40), Node: "node-1",
			Source: flows.Endpoint{Addr: steadyAddr}, Destination: flows.Endpoint{Addr: external(i % 97)},
		}
		if _, settled := tracker.Add("node-1", r, at); settled {
			t.Fatal("it did not wait")
		}
	}
	if oldest := tracker.Oldest()["node-1"]; !oldest.Equal(hour) || tracker.Figures().Waiting != records {
		t.Errorf("%d records wait, the oldest since %s; want %d since %s", tracker.Figures().Waiting, oldest, records, hour)
	}
	if slots, edges := tracker.Size(); slots > inventory.MaxSlots || edges > inventory.MaxUnclear {
		t.Errorf("%d slots with %d edges wait", slots, edges)
	}
	const late = records * 100 * time.Millisecond
	tracker.Use(inventory.At(hour.Add(late+time.Minute), []runtime.Object{steady})) // as soon as one comes, all is settled
	edges := tracker.Settle().Edges()
	for _, e := range edges {
		if e.From.String() != "Pod batch/steady" {
			t.Fatalf("an edge from %s", e.From)
		}
	}
	if len(edges) != 97*40 || tracker.Figures().Waiting != 0 || tracker.Figures().Attributed < records*8/10 {
		t.Errorf("%d edges, %+v; want %d", len(edges), tracker.Figures(), 97*40)
	}
}

var steadyAddr = netip.MustParseAddr("10.0.0.1")
