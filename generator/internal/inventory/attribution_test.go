// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// churn is an hour of pods that take over each other's addresses.
type churn struct {
	random  *rand.Rand
	objects []runtime.Object
	records []*flows.Record
	truth   map[netip.Addr]string // destination, of which each record has its own → the source's pod
	pods    int
}

var hour = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// newChurn starts 10,000 pods in an hour on 42 addresses, each address free for a second in between.
// The clocks of the nodes are wrong by up to half a second, half of the records name no pod, and a third of the
// pods are in the inventory: as long as they run, or when they are completed.
func newChurn(seed uint64) *churn {
	c := &churn{random: rand.New(rand.NewPCG(seed, 7)), truth: map[netip.Addr]string{}}
	const addresses = 42
	for i := range addresses {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		wrong := time.Duration(c.random.IntN(1000)-500) * time.Millisecond
		for at := time.Duration(0); at < time.Hour; {
			life := time.Second + time.Duration(c.random.Int64N(int64(2*12500*time.Millisecond)))
			c.pod(addr, at, life, wrong)
			at += life + time.Second
		}
	}
	return c
}

func (c *churn) pod(addr netip.Addr, at, life, wrong time.Duration) {
	c.pods++
	name := fmt.Sprintf("job-%d", c.pods)
	if running := at+life >= time.Hour; running || c.random.IntN(3) == 0 {
		c.objects = append(c.objects, object(name, addr, at, life, running))
	}
	for range 2 + c.random.IntN(5) {
		r := &flows.Record{
			ID: c.random.Uint64(), Time: hour.Add(at + time.Duration(c.random.Int64N(int64(life))) + wrong),
			Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: addr}, Destination: flows.Endpoint{Addr: external(len(c.records)), Entity: "world"},
		}
		if c.random.IntN(2) == 0 {
			r.Source.Namespace, r.Source.Pod = "batch", name
		}
		c.truth[r.Destination.Addr] = name
		c.records = append(c.records, r)
	}
}

func external(n int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(n)|0x20000000)
	return netip.AddrFrom4(a)
}

func object(name string, addr netip.Addr, at, life time.Duration, running bool) *corev1.Pod {
	start, end := metav1.NewTime(hour.Add(at).Truncate(time.Second)), metav1.NewTime(hour.Add(at+life).Truncate(time.Second))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name},
		Status:     corev1.PodStatus{StartTime: &start, PodIP: addr.String(), Phase: corev1.PodRunning},
	}
	if !running {
		p.Status.Phase = corev1.PodSucceeded
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{StartedAt: start, FinishedAt: end},
		}}}
	}
	return p
}

func attribute(t *testing.T, inv *inventory.Inventory, records []*flows.Record) []edge.Edge {
	t.Helper()
	a := inv.Attribute(edge.Limits{})
	for _, r := range records {
		if err := a.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	fold, err := a.Settle()
	if err != nil {
		t.Fatal(err)
	}
	return fold.Edges()
}

// TestAddressReuse: no record of 10,000 pods in an hour is given to a pod that did not send it, no pod's
// address is taken for an external one, and the order of records does not matter.
func TestAddressReuse(t *testing.T) {
	for seed := range uint64(3) {
		c := newChurn(seed)
		inv := inventory.New(c.objects)
		edges := attribute(t, inv, c.records)
		right, unclear := 0, 0
		for _, e := range edges {
			switch {
			case e.From.Kind == "Pod" && e.From.Name == c.truth[e.To.Addr]:
				right++
			case e.From.Entity == inventory.EntityPodAddress:
				unclear++
			default:
				t.Errorf("seed %d: a record of %s is given to %s", seed, c.truth[e.To.Addr], e.From)
			}
		}
		t.Logf("seed %d: %d pods, %d records: %d right, %d unclear", seed, c.pods, len(c.records), right, unclear)
		if c.pods < 10_000 || right+unclear != len(c.records) || right < len(c.records)*6/10 || unclear == 0 {
			t.Errorf("seed %d: %d pods, %d records: %d right, %d unclear", seed, c.pods, len(c.records), right, unclear)
		}
		again := append(c.records, c.records[:1000]...)
		c.random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if !reflect.DeepEqual(attribute(t, inv, again), edges) {
			t.Errorf("seed %d: another order or repetition gives other edges", seed)
		}
	}
}

// TestWhoseAddress is one address and three pods: one completed, one that only flows know, one that runs.
func TestWhoseAddress(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	inv := inventory.New([]runtime.Object{
		object("done", addr, 0, 10*time.Second, false),
		object("runs", addr, 5*time.Minute, 0, true),
	})
	record := func(at time.Duration, pod string) *flows.Record {
		r := &flows.Record{
			Time: hour.Add(at), Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: uint16(at / time.Second),
			Source: flows.Endpoint{Addr: addr}, Destination: flows.Endpoint{Addr: external(1)},
		}
		if pod != "" {
			r.Source.Namespace, r.Source.Pod = "batch", pod
		}
		return r
	}
	proofs := []*flows.Record{record(60*time.Second, "flew"), record(100*time.Second, "flew"), record(1000*time.Second, "runs")}
	for _, tt := range []struct {
		second time.Duration
		want   string
	}{
		{1, "pod-address 10.0.0.1"}, // clocks may be apart
		{2, "Pod batch/done"},
		{9, "Pod batch/done"},
		{10, "pod-address 10.0.0.1"}, // its container ends
		{59, "pod-address 10.0.0.1"}, // before the first proof
		{61, "Pod batch/flew"},
		{80, "Pod batch/flew"},
		{101, "pod-address 10.0.0.1"},
		{299, "pod-address 10.0.0.1"},
		{302, "Pod batch/runs"},
		{5000, "Pod batch/runs"},
	} {
		for _, e := range attribute(t, inv, append(proofs, record(tt.second*time.Second, ""))) {
			if got := e.From.String(); e.Port == uint16(tt.second) && got != tt.want {
				t.Errorf("after %d s: %s, want %s", tt.second, got, tt.want)
			}
		}
	}
	late := record(2000*time.Second, "thief") // the inventory is older than this flow
	for _, e := range attribute(t, inv, []*flows.Record{proofs[2], late, record(1500*time.Second, ""), record(900*time.Second, "")}) {
		want := map[uint16]string{1000: "Pod batch/runs", 2000: "Pod batch/thief", 1500: "pod-address 10.0.0.1", 900: "Pod batch/runs"}[e.Port]
		if e.From.String() != want {
			t.Errorf("followed by another pod, after %d s: %s, want %s", e.Port, e.From, want)
		}
	}
}

// TestInventoryOlderThanFlows: a pod that ran when the inventory was taken may have gone since.
func TestInventoryOlderThanFlows(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	inv := inventory.At(hour.Add(time.Minute), []runtime.Object{object("runs", addr, 0, 0, true)})
	for second, want := range map[int]string{30: "Pod batch/runs", 59: "Pod batch/runs", 61: "pod-address 10.0.0.1", 9000: "pod-address 10.0.0.1"} {
		r := &flows.Record{Time: hour.Add(time.Duration(second) * time.Second), Source: flows.Endpoint{Addr: addr}, Destination: flows.Endpoint{Addr: external(1)}}
		if got := inv.Key(r).From.String(); got != want {
			t.Errorf("after %d s: %s, want %s", second, got, want)
		}
	}
}
