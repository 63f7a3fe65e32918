// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// news is what a watch tells of a pod.
type news struct {
	at   time.Duration
	pod  *corev1.Pod
	gone bool
}

// news are what the API server tells of the town's pods, in order. Some are deleted by force, and tell no end, or not even
// an address.
func (w *town) news(random *rand.Rand) (all []news) {
	for i, s := range w.stays {
		at := func(p *corev1.Pod, told time.Duration, gone bool) {
			p.UID, p.Spec.NodeName, p.CreationTimestamp = types.UID(fmt.Sprint(i)), "node-1", metav1.NewTime(hour.Add(s.start).Truncate(time.Second))
			all = append(all, news{told, p, gone})
		}
		pending := object(s.name, s.addr, s.start, 0, true)
		pending.Status = corev1.PodStatus{Phase: corev1.PodPending}
		at(pending, s.start, false)
		runs := object(s.name, s.addr, s.start, 0, true)
		force := random.IntN(5) == 0
		if force && s.start+s.lag >= s.end {
			at(pending.DeepCopy(), s.end, true)
			continue
		}
		at(runs, s.start+s.lag, false)
		if force {
			at(runs.DeepCopy(), s.end, true)
			continue
		}
		ended := object(s.name, s.addr, s.start, s.end-s.start, false)
		at(ended, s.end+s.lag, false)
		at(ended.DeepCopy(), s.end+s.lag+s.kept, true)
	}
	slices.SortStableFunc(all, func(a, b news) int { return int(a.at - b.at) })
	return all
}

// move gives each pod an address that none had before.
func (w *town) move() {
	addresses := map[string]netip.Addr{}
	for i := range w.stays {
		w.stays[i].addr = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 9})
		addresses[w.stays[i].name] = w.stays[i].addr
	}
	for _, a := range w.records {
		a.record.Source.Addr = addresses[w.truth[a.record.Destination.Addr]]
	}
}

// follow drives a Tracker with the records and with a watch that fails now and then. Inventories have no pods, as if all
// lived between two of them.
func (w *town) follow(random *rand.Rand, watches bool) (edges []edge.Edge, f inventory.Figures) {
	tracker := inventory.NewTracker(inventory.At(hour.Add(-time.Minute), nil), nil)
	out := edge.NewFold(1 << 20)
	all, there := w.news(random), map[types.UID]any{}
	down, next := time.Duration(0), time.Duration(0)
	begin := func(at time.Duration) {
		var list []any
		for _, p := range there {
			list = append(list, p)
		}
		tracker.Begin(inventory.Services, nil, hour.Add(at))
		tracker.Begin(inventory.Pods, list, hour.Add(at))
	}
	tell := func(until time.Duration) {
		for ; len(all) > 0 && all[0].at <= until; all = all[1:] {
			n := all[0]
			if there[n.pod.UID] = n.pod; n.gone {
				delete(there, n.pod.UID)
			}
			switch {
			case !watches || n.at < down:
			case down > 0:
				begin(n.at)
				down = 0
			default:
				tracker.See(inventory.Trim(n.pod), n.gone, hour.Add(n.at))
				if random.IntN(300) == 0 {
					down = n.at + time.Duration(random.Int64N(int64(time.Minute)))
				}
			}
		}
	}
	if watches {
		begin(-time.Minute)
	}
	settle := func(at time.Duration) {
		if watches && down == 0 {
			tracker.Beat(inventory.Pods, hour.Add(at))
			tracker.Beat(inventory.Services, hour.Add(at))
		}
		tracker.Use(inventory.At(hour.Add(at), nil))
		if f := tracker.Settle(); f != nil {
			_ = out.Merge(f)
		}
	}
	for _, a := range w.records {
		now := hour.Add(max(a.at, a.record.Time.Sub(hour)))
		tell(now.Sub(hour))
		for ; next <= a.at; next += 30 * time.Second {
			settle(next)
		}
		if k, settled := tracker.Add("node", a.record, now); settled {
			_ = out.Add(k, inventory.Observe(a.record))
		}
	}
	tell(time.Hour)
	settle(time.Hour)
	settle(2 * time.Hour) // also if the watch is down
	return out.Edges(), tracker.Figures()
}

// TestWatch: pods that no inventory has, at addresses that no pod had before, are known by the watch of them: no record is given to
// another pod, and none to the outside, also not when the watch misses them.
func TestWatch(t *testing.T) {
	var right, unclear int
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 12))
		w := newTown(random)
		watches, moves := seed < 3, seed%2 == 0
		if moves {
			w.move()
		}
		edges, figures := w.follow(random, watches)
		for _, e := range edges {
			switch {
			case e.From.Kind == "Pod" && e.From.Name == w.truth[e.To.Addr]:
				right++
			case e.From.Entity == inventory.EntityPodAddress:
				unclear++
			default:
				t.Errorf("seed %d: a record of %s is given to %s", seed, w.truth[e.To.Addr], e.From)
			}
		}
		if len(edges) != len(w.records) || watches != (figures.Restarts > 0) || (moves || !watches) != (figures.Unwatched > 0) {
			t.Errorf("seed %d: %d edges of %d records, %+v", seed, len(edges), len(w.records), figures)
		}
	}
	t.Logf("%d right, %d unclear", right, unclear)
	if right < unclear {
		t.Errorf("%d right, %d unclear", right, unclear)
	}
}

// TestWatchedAddresses: what a watch says of an address that no inventory has, and what is said while none tells anything.
func TestWatchedAddresses(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "nightly-1", OwnerReferences: []metav1.OwnerReference{{Kind: "CronJob", Name: "nightly", Controller: new(true)}}}}
	ofJob := object("nightly-1-x", netip.MustParseAddr("192.0.2.7"), 5*time.Second, 20*time.Second, false)
	ofJob.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "nightly-1", Controller: new(true)}}
	silent := object("silent", netip.Addr{}, 5*time.Second, 0, true)
	silent.Spec.NodeName = "node-1"
	moved := object("moved", netip.MustParseAddr("10.0.0.2"), 0, 0, true)
	service := func(created time.Duration) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "s", CreationTimestamp: metav1.NewTime(hour.Add(created))},
			Spec:       corev1.ServiceSpec{ClusterIP: "192.0.2.9", Selector: map[string]string{"app": "s"}, Ports: []corev1.ServicePort{{Port: 443}}},
		}
	}
	backend := object("backend", steadyAddr, 0, 0, true)
	backend.Labels = map[string]string{"app": "s"}
	hostNetwork := object("on-node", netip.MustParseAddr("10.0.0.3"), 0, 0, true)
	hostNetwork.Spec.HostNetwork = true
	before := object("moved", netip.MustParseAddr("10.0.0.1"), 0, 0, true)
	for _, tt := range []struct {
		name, to  string
		inventory []runtime.Object // at last
		seen      []any
		gone      bool          // each of them
		watch     time.Duration // when it begins; before that there was none
		want      string
	}{
		{"nobody's", "10.9.9.9", nil, nil, false, 0, "10.9.9.9"},
		{"nobody watched yet", "10.9.9.9", nil, nil, false, 15 * time.Second, "pod-address 10.9.9.9"},
		{"nor at an address of providers", "100.64.1.1", nil, nil, false, 15 * time.Second, "pod-address 100.64.1.1"},
		{"a public address is no pod's", "192.0.2.1", nil, nil, false, 15 * time.Second, "192.0.2.1"},
		{"unless one was near", "192.0.2.1", nil, []any{ofJob}, true, 15 * time.Second, "pod-address 192.0.2.1"},
		{"a Job that is gone", "192.0.2.7", nil, []any{ofJob, job}, true, 0, "CronJob batch/nightly"},
		{"a pod that told no address", "10.9.9.9", nil, []any{silent}, true, 0, "pod-address 10.9.9.9"},
		{"and may still tell it", "10.9.9.9", nil, []any{silent}, false, 0, "10.9.9.9"},
		{"a node's", "10.0.0.3", nil, []any{hostNetwork}, false, 0, "10.0.0.3"},
		{"a Service that is gone", "192.0.2.9", nil, []any{service(0)}, true, 0, "service 192.0.2.9"},
		{"a Service that there is", "192.0.2.9", []runtime.Object{service(0), backend}, nil, false, 0, "Pod batch/backend"},
		{"one that came later", "192.0.2.9", []runtime.Object{service(time.Minute), backend}, nil, false, 0, "service 192.0.2.9"},
		{"a pod that moved here", "10.0.0.2", nil, []any{before, moved}, false, 0, "pod-address 10.0.0.2"},
		{"another kind", "10.9.9.9", nil, []any{&corev1.Node{}, "no object"}, true, 0, "10.9.9.9"},
	} {
		tracker := inventory.NewTracker(inventory.At(hour.Add(-time.Minute), nil), nil)
		at := hour.Add(10 * time.Second)
		tracker.Begin(inventory.Services, nil, hour.Add(tt.watch))
		tracker.Begin(inventory.Pods, nil, hour.Add(tt.watch))
		r := &flows.Record{
			Time: at, Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: 443, Node: "node-1",
			Source:      flows.Endpoint{Addr: netip.MustParseAddr("10.0.0.8"), Namespace: "batch", Pod: "a"},
			Destination: flows.Endpoint{Addr: netip.MustParseAddr(tt.to)},
		}
		tracker.Add("node-1", r, at)
		for _, o := range tt.seen {
			tracker.See(inventory.Trim(o), tt.gone, hour.Add(30*time.Second))
		}
		settleAt(tracker, hour.Add(10*time.Minute), tt.inventory)
		if got := tracker.Settle().Edges()[0].To.String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// settleAt lets everything be told until a time.
func settleAt(tracker *inventory.Tracker, at time.Time, objects []runtime.Object) {
	tracker.Use(inventory.At(at, objects))
	tracker.Beat(inventory.Pods, at)
	tracker.Beat(inventory.Services, at)
}

// TestReconcile: what was seen while nobody watched is not listed if it is known from when somebody did.
func TestReconcile(t *testing.T) {
	pod := object("here", netip.MustParseAddr("10.0.0.1"), 0, 0, true)
	tracker := inventory.NewTracker(inventory.At(hour, []runtime.Object{pod}), nil)
	api := edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: "api"}
	at := func(entity, addr string, port uint16) edge.Edge {
		return edge.Edge{Key: edge.Key{From: api, To: edge.Endpoint{Addr: netip.MustParseAddr(addr), Entity: entity}, Protocol: "TCP", Port: port}}
	}
	for _, tt := range []struct {
		name  string
		edges []edge.Edge
		want  int
	}{
		{"known", []edge.Edge{at("", "10.9.9.9", 80), at("pod-address", "10.9.9.9", 80)}, 1},
		{"known by another word", []edge.Edge{at("world", "10.9.9.9", 80), at("pod-address", "10.9.9.9", 80)}, 1},
		{"another port", []edge.Edge{at("", "10.9.9.9", 81), at("pod-address", "10.9.9.9", 80)}, 2},
		{"another address", []edge.Edge{at("", "10.9.9.8", 80), at("pod-address", "10.9.9.9", 80)}, 2},
		{"a pod's", []edge.Edge{at("", "10.0.0.1", 80), at("pod-address", "10.0.0.1", 80)}, 2},
		{"a Service's", []edge.Edge{at("service", "10.9.9.9", 80), at("pod-address", "10.9.9.9", 80)}, 2},
		{"not known", []edge.Edge{at("pod-address", "10.9.9.9", 80)}, 1},
	} {
		if got := tracker.Reconcile(tt.edges); len(got) != tt.want {
			t.Errorf("%s: %d edges, want %d", tt.name, len(got), tt.want)
		}
	}
}

// TestTrackerWaitsForTheWatch: a record waits for a watch that is late, and not for one that does not work.
func TestTrackerWaitsForTheWatch(t *testing.T) {
	for _, tt := range []struct {
		name           string
		pods, services time.Duration // after the record; until then they were told
		inventory      time.Duration
		want           string // empty: it waits
	}{
		{"both are on time", time.Minute, time.Minute, time.Minute, "10.9.9.9"},
		{"one is late", 20 * time.Second, time.Minute, time.Minute, ""},
		{"the other is late", time.Minute, 20 * time.Second, 2 * time.Minute, ""},
		{"the inventory is late", time.Minute, time.Minute, 20 * time.Second, ""},
		{"it is late, and told what matters", 50 * time.Second, time.Minute, 2 * time.Minute, "10.9.9.9"},
		{"it works no more", -time.Second, time.Minute, 5 * time.Minute, "pod-address 10.9.9.9"},
	} {
		tracker := inventory.NewTracker(inventory.At(hour.Add(-time.Minute), nil), nil)
		tracker.Beat(inventory.Pods, hour.Add(time.Hour)) // nothing has begun
		tracker.Begin(inventory.Services, nil, hour.Add(-time.Minute))
		tracker.Begin(inventory.Pods, nil, hour.Add(-time.Minute))
		r := &flows.Record{
			Time: hour, Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: steadyAddr, Namespace: "batch", Pod: "a"}, Destination: flows.Endpoint{Addr: netip.MustParseAddr("10.9.9.9")},
		}
		tracker.Add("node-1", r, hour)
		tracker.Beat(inventory.Pods, hour.Add(tt.pods))
		tracker.Beat(inventory.Services, hour.Add(tt.services))
		tracker.Use(inventory.At(hour.Add(tt.inventory), nil))
		got := ""
		if f := tracker.Settle(); f != nil {
			got = f.Edges()[0].To.String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWatchIsBounded: gaps, Services and Jobs are.
func TestWatchIsBounded(t *testing.T) {
	tracker := inventory.NewTracker(inventory.At(hour, nil), nil)
	const many = 70_000
	for i := range many {
		at := hour.Add(time.Duration(i) * time.Second)
		if i%10 == 0 && i < 30_000 {
			tracker.Begin(inventory.Pods, nil, at)
			tracker.Begin(inventory.Services, nil, at)
		}
		tracker.Beat(inventory.Pods, at)
		tracker.See(&corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: external(i).String()}}, true, at)
		tracker.See(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), OwnerReferences: []metav1.OwnerReference{{Kind: "CronJob", Name: "c", Controller: new(true)}}}}, true, at)
	}
	gaps, served, owners := tracker.Watched()
	if gaps != inventory.MaxGaps || served != inventory.MaxServed || owners != inventory.MaxServed || tracker.Figures().Forgotten != 2*(many-inventory.MaxServed) {
		t.Errorf("%d gaps, %d addresses, %d Jobs; %+v", gaps, served, owners, tracker.Figures())
	}
	tracker.Use(inventory.At(hour.Add(48*time.Hour), nil))
	if _, served, owners := tracker.Watched(); served != 0 || owners != 0 {
		t.Errorf("after two days: %d addresses, %d Jobs", served, owners)
	}
}
